"""The text of the array script, and what it does where srun and scontrol are stand-ins."""

import os
import subprocess
from pathlib import Path

import pytest

from launch.slurm_options import SlurmOptions
from launch.slurm_script import checked, script

GOLDEN = """\
#!/bin/bash
# Each task trains one run: the one whose number in the list is the task's.
#SBATCH --job-name=tiny
#SBATCH --array=1-12%4
#SBATCH --output='/my lab/studies/tiny/slurm/%A_%a.log'
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@60
#SBATCH --time=24:00:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=4
#SBATCH --constraint=h100

run=$(sed -n "${SLURM_ARRAY_TASK_ID}p" '/my lab/studies/tiny/slurm/0001.runs')
folder='/my lab/runs'/"$run"
if [[ -e $folder/cancel ]]; then
  echo "$run was cancelled before it began"
  exit
fi
checkpoints=$(ls "$folder/checkpoints" 2> /dev/null)
srun --nodes=2 --ntasks-per-node=1 --cpus-per-task=8 --wait=120 scaling run '/my lab/studies/tiny.json' "$run" --root '/my lab'
code=$?
if [[ $code != 75 && $code != 143 ]] || [[ -e $folder/cancel ]]; then
  exit $code
fi
# It was told to stop: it goes on later, unless it gets nowhere.
stalls='/my lab/studies/tiny/slurm'/$SLURM_ARRAY_JOB_ID"_"$SLURM_ARRAY_TASK_ID.stalls
if [[ $(ls "$folder/checkpoints" 2> /dev/null) == "$checkpoints" ]]; then
  echo stopped >> "$stalls"
else
  rm -f "$stalls"
fi
if [[ -e $stalls && $(wc -l < "$stalls") -ge 5 ]]; then
  echo "$run was stopped 5 times before it had written a checkpoint; give it more time"
  exit $code
fi
# The task is named by its array: the number of an array's last task alone means all of them.
exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
"""  # noqa: E501


def text_of(root=Path("/my lab"), study="tiny", tasks=12, options=None):
    return script(
        study,
        runs=root / "studies" / study / "slurm" / "0001.runs",
        tasks=tasks,
        plan=root / "studies" / f"{study}.json",
        root=root,
        options=options or SlurmOptions(),
        grace_seconds=30.0,
        command=("scaling", "run"),
    )


def test_the_text_is_the_known_one():
    options = SlurmOptions(time="24:00:00", nodes=2, gpus=4, cpus=8, at_once=4, extra=("constraint=h100",))
    assert text_of(options=options) == GOLDEN


@pytest.mark.parametrize("name", ["a b", "a/b", "../a", "a;b", "a,b", "a\nb", "$a", "", "-a", ".", "é"])
def test_a_name_with_odd_characters_is_refused(name):
    with pytest.raises(ValueError, match=r"study .*: only letters, digits, '\.', '_' and '-' can go to SLURM"):
        checked(name, "study")
    with pytest.raises(ValueError, match="can go to SLURM"):
        text_of(study=name)


@pytest.mark.parametrize("root", ["/a\\b", "/a\nb", "/a\tb"])
def test_a_folder_that_slurm_cannot_write_logs_to_is_refused(root):
    with pytest.raises(ValueError, match="SLURM writes no logs below a name with"):
        text_of(Path(root))


class Task:
    """A script whose srun ends as it is told, and whose scontrol says what it was asked."""

    def __init__(self, root: Path):
        self.root = root
        (root / "studies" / "tiny" / "slurm").mkdir(parents=True)
        (root / "studies" / "tiny" / "slurm" / "0001.runs").write_text("first\nsecond\nthird\n")
        (root / "runs" / "second").mkdir(parents=True)
        self.file = root / "script.sh"
        self.file.write_text(text_of(root, tasks=3))
        self._make("srun", 'printf "%s\\n" "$@"; [[ $TOUCH ]] && mkdir -p "runs/second/$TOUCH"; exit $CODE')
        self._make("scontrol", 'echo "scontrol $@"')

    def _make(self, name, text):
        (self.root / "bin").mkdir(exist_ok=True)
        file = self.root / "bin" / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def ends(self, code, **environment):
        given = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "7", "CODE": str(code), **environment}
        return subprocess.run(
            ["bash", str(self.file)],
            cwd=self.root,
            env={**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", **given},
            capture_output=True,
            text=True,
        )


@pytest.fixture
def task(tmp_path):
    root = tmp_path / 'it\'s 100% $HOME `id` "x"'
    root.mkdir()
    return Task(root)


def test_a_task_trains_the_run_of_its_line_whatever_the_folder_is_called(task):
    done = task.ends(0)
    root = str(task.root)
    words = ["scaling", "run", f"{root}/studies/tiny.json", "second", "--root", root]
    assert done.stdout.splitlines() == ["--nodes=1", "--ntasks-per-node=1", "--wait=120", *words]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "again"), [(75, True), (143, True), (0, False), (1, False), (76, False), (137, False)]
)
def test_a_task_that_was_told_to_stop_goes_on_later_and_no_other_does(task, code, again):
    done = task.ends(code)
    assert ("scontrol requeue 7_2" in done.stdout) == again
    assert done.returncode == (0 if again else code)


def test_a_task_that_is_cancelled_while_it_runs_is_not_queued_again(task):
    done = task.ends(75, TOUCH="cancel")
    assert "scontrol" not in done.stdout and done.returncode == 75


def test_a_task_that_is_cancelled_before_it_runs_trains_nothing(task):
    (task.root / "runs" / "second" / "cancel").touch()
    done = task.ends(1)
    assert (done.stdout, done.returncode) == ("second was cancelled before it began\n", 0)


def test_a_task_that_gets_nowhere_is_given_up_and_one_with_a_new_checkpoint_is_not(task):
    codes = [task.ends(75).returncode for _ in range(4)]
    codes.append(task.ends(75, TOUCH="checkpoints/100").returncode)
    codes += [task.ends(75).returncode for _ in range(4)]
    assert codes == [0] * 9  # queued again
    done = task.ends(75)
    assert "second was stopped 5 times before it had written a checkpoint; give it more time" in done.stdout
    assert done.returncode == 75 and "scontrol" not in done.stdout
