"""The text of a SLURM array script: one run a task, made by a pure function."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.slurm_options import SlurmOptions, quoted
from launch.worker import RESUME_ME
from scaling.lease import CANCEL

COMMAND = (sys.executable, "-m", "launch.cli", "run")
TERMINATED = 128 + 15  # told to stop before it could listen
TRIES = 5  # in a row that come to no checkpoint
ENDING_SECONDS = 120  # that the processes of one run may end apart

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

SCRIPT = """\
#!/bin/bash
# Each task trains one run: the one whose number in the list is the task's.
{options}

run=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {runs})
folder={folders}/"$run"
if [[ -e $folder/{cancel} ]]; then
  echo "$run was cancelled before it began"
  exit
fi
checkpoints=$(ls "$folder/checkpoints" 2> /dev/null)
{srun} {train}
code=$?
if [[ $code != {resume} && $code != {terminated} ]] || [[ -e $folder/{cancel} ]]; then
  exit $code
fi
# It was told to stop: it goes on later, unless it gets nowhere.
stalls={stalls}/$SLURM_ARRAY_JOB_ID"_"$SLURM_ARRAY_TASK_ID.stalls
if [[ $(ls "$folder/checkpoints" 2> /dev/null) == "$checkpoints" ]]; then
  echo stopped >> "$stalls"
else
  rm -f "$stalls"
fi
if [[ -e $stalls && $(wc -l < "$stalls") -ge {tries} ]]; then
  echo "$run was stopped {tries} times before it had written a checkpoint; give it more time"
  exit $code
fi
# The task is named by its array: the number of an array's last task alone means all of them.
exec scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
"""


def script(
    study: str,
    *,
    runs: Path,
    tasks: int,
    plan: Path,
    root: Path,
    options: SlurmOptions,
    grace_seconds: float,
    command: Sequence[str] = COMMAND,
) -> str:
    """The text of an array script whose task k trains the run on line k of the file `runs`.

    All paths are absolute. Logs lie beside `runs`. The signal goes to the
    job's steps and not to this script, which then hears how they ended.
    """
    checked(study, "study")
    limit = f"%{options.at_once}" if options.at_once else ""
    if not str(runs).isprintable() or "\\" in str(runs):
        raise ValueError(f"{str(runs)!r}: SLURM writes no logs below a name with a backslash; choose another --root")
    log = str(runs.parent).replace("%", "%%") + "/%A_%a.log"
    lines = [
        f"--job-name={study}",
        f"--array=1-{tasks}{limit}",
        f"--output={quoted(log)}",
        "--open-mode=append",
        "--requeue",
        f"--signal=TERM@{options.check_notice(grace_seconds)}",
        *options.lines(),
    ]
    cpus = f"--cpus-per-task={options.cpus} " if options.cpus else ""  # srun no longer takes it from its job
    words = shlex.join([*command, str(plan)])
    return SCRIPT.format(
        options="\n".join(f"#SBATCH {line}" for line in lines),
        runs=shlex.quote(str(runs)),
        srun=f"srun --nodes={options.nodes} --ntasks-per-node=1 {cpus}--wait={ENDING_SECONDS}",
        train=f'{words} "$run" --root {shlex.quote(str(root))}',
        folders=shlex.quote(str(root / "runs")),
        cancel=CANCEL,
        stalls=shlex.quote(str(runs.parent)),
        tries=TRIES,
        resume=RESUME_ME,
        terminated=TERMINATED,
    )


def checked(name: str, what: str) -> str:
    """A name that is safe in a path, a list and a job's name. Raises ValueError for any other."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: only letters, digits, '.', '_' and '-' can go to SLURM; give another name")
    return name
