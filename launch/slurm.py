"""Runs as tasks of SLURM job arrays: the script, and what is asked of sbatch, squeue, scontrol and scancel.

An array is submitted held, each branch is told to wait for its trunk's task,
then the array is released. So one limit of tasks at once holds for trunks and
branches together, and a branch may start as soon as its own trunk has ended.
SLURM forgets jobs that have ended: how a run ended is told by its own files.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launch.jobs import note, noted
from launch.slurm_options import SlurmOptions
from launch.slurm_script import checked, script
from scaling.plan_file import PlanFile
from scaling.record import RunDirectory
from scaling.workspace import Workspace


class SlurmError(OSError):
    """SLURM could not be asked, or refused; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that SLURM knows of now."""

    run_id: str
    job: str  # array and task: 123_4
    state: str  # as squeue calls it: PENDING, RUNNING, ...
    reason: str  # why it waits


def submit(plan: PlanFile, run_ids: Sequence[str], workspace: Workspace, options: SlurmOptions) -> list[Job]:
    """Queue those of a plan's runs that SLURM does not know of yet, for this study or another; returns them.

    run_ids: the ready runs. Raises SlurmError; an array that was not finished
    then is taken back.
    """
    study, root = checked(plan.name, "study"), workspace.root.absolute()
    text_of = partial(
        script,
        study,
        plan=plan.path.absolute(),
        root=root,
        options=options,
        grace_seconds=plan.placement.grace_seconds,
    )
    trunks = {name: (run["config"].get("trunk") or {}).get("run_id") for name, run in plan.runs.items()}
    known = {job.run_id: job.job for job in poll(workspace)}
    wanted = trunks_first([checked(name, "run id") for name in run_ids if name not in known], trunks)
    queued: dict[str, str] = {}
    for part in _parts(wanted):
        runs, path = _claim(root / "studies" / study / "slurm")
        runs.write_text("".join(f"{name}\n" for name in part), encoding="utf-8")
        path.write_text(text_of(runs=runs, tasks=len(part)), encoding="utf-8")
        for name in part:
            RunDirectory(workspace.runs / name).cancel.unlink(missing_ok=True)
        with _held_array(path) as array:
            jobs = {name: f"{array}_{task}" for task, name in enumerate(part, start=1)}
            note(workspace, study, "slurm", jobs)
            for trunk, branches in waits(jobs, trunks, known).items():
                # However the trunk ends: a branch without its checkpoint trains from its first step.
                _ask("scontrol", "update", f"JobId={','.join(branches)}", f"Dependency=afterany:{trunk}")
        known |= jobs
        queued |= jobs
    return [Job(run_id=name, job=job, state="PENDING", reason="") for name, job in queued.items()]


def poll(workspace: Workspace, study: str | None = None) -> list[Job]:
    """The runs that are queued or running now, of one study or of all. Raises SlurmError where SLURM is not there."""
    studies = [path.parent.name for path in workspace.studies.glob("*/jobs.jsonl")] if study is None else [study]
    submitted = {(name, job): run for name in studies for run, job in noted(workspace, name, "slurm")}
    if not submitted:
        return []
    names = ",".join(sorted({name for name, _ in submitted}))
    told = _ask("squeue", "--noheader", "--array", f"--name={names}", "--format=%j|%i|%T|%r")
    lines = [line.strip().split("|", 3) for line in told.splitlines()]
    return [
        Job(run_id=submitted[name, job], job=job, state=state, reason=reason)
        for name, job, state, reason in lines
        if (name, job) in submitted
    ]


def cancel(workspace: Workspace, study: str) -> list[Job]:
    """Take a study's runs out of the queue, and ask those under way to write a checkpoint and end; returns them."""
    jobs = poll(workspace, study)
    for job in jobs:  # first, so that none that starts meanwhile trains on
        directory = RunDirectory(workspace.runs / job.run_id)
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.cancel.touch()
    waiting = [job.job for job in jobs if job.state == "PENDING"]
    try:
        if waiting:
            _ask("scancel", "--state=PENDING", *waiting)
    except SlurmError:  # one of them has ended meanwhile
        if any(job.state == "PENDING" for job in poll(workspace, study)):
            raise
    return jobs


def trunks_first(run_ids: Sequence[str], trunks: Mapping[str, str | None]) -> list[str]:
    """The runs, each after its trunk where that is among them, else as they were."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        trunk = trunks.get(name)
        if trunk in wanted and trunk not in ordered:
            visit(trunk)
        ordered[name] = None

    wanted = set(run_ids)
    for name in run_ids:
        visit(name)
    return list(ordered)


def waits(jobs: Mapping[str, str], trunks: Mapping[str, str | None], known: Mapping[str, str]) -> dict[str, list[str]]:
    """Of new jobs, by run id, those that wait for each job of a trunk, new or known before."""
    all_jobs = {**known, **jobs}
    found: dict[str, list[str]] = {}
    for name, job in jobs.items():
        trunk = all_jobs.get(trunks.get(name))
        if trunk is not None:
            found.setdefault(trunk, []).append(job)
    return found


def _parts(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many runs as one array of this cluster may hold, and again."""
    if not run_ids:
        return
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), flags=re.MULTILINE)
    size = int(found[1]) - 1 if found else 1000  # the highest number of a task is one less
    for begin in range(0, len(run_ids), size):
        yield run_ids[begin : begin + size]


def _claim(folder: Path) -> tuple[Path, Path]:
    """The list and the script of a new submission: the next free number."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.runs")))
    while True:
        number += 1
        with suppress(FileExistsError):
            runs = folder / f"{number:04}.runs"
            runs.touch(exist_ok=False)
            return runs, runs.with_suffix(".sh")


@contextmanager
def _held_array(path: Path) -> Iterator[str]:
    """Submit an array that no task of which starts before the block is left; an error takes it back."""
    array = _ask("sbatch", "--parsable", "--hold", str(path)).strip().split(";")[0]
    try:
        yield array
        _ask("scontrol", "release", array)
    except BaseException:
        with suppress(SlurmError):  # what went wrong first is what counts, and a held array does nothing
            _ask("scancel", array)
        raise


def _ask(*command: str) -> str:
    """What one of SLURM's commands prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise SlurmError(f"no {command[0]} here; launch where the cluster's jobs are submitted from") from None
    if done.returncode:
        raise SlurmError(f"{command[0]}: {done.stderr.strip() or f'it ended with code {done.returncode}'}")
    return done.stdout
