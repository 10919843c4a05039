"""The plan file of a launched study, as backends read it: what is left, what can start, who was told to train it."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace

Run = dict[str, Any]  # one of the plan's runs: run_id, role, config, ...


def read_plan(path: Path) -> dict[str, Any]:
    """The plan as plain data. Raises ValueError for a file that is none, or of an older launch."""
    try:
        plan = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not whole JSON ({error}); launch the study again to write it anew") from None
    if "placement" not in plan or any("config" not in run for run in plan.get("runs", ())):
        raise ValueError(f"{path}: no placement or no configs in it; launch the study again to write it anew")
    return plan


def left(plan: Mapping[str, Any], workspace: Workspace) -> list[Run]:
    """The runs that have no record of an end yet, trunks first; a failed one is left too."""
    runs = [run for run in plan["runs"] if not _settled(workspace.runs / run["run_id"])]
    return sorted(runs, key=lambda run: run["role"] != "trunk")  # stable: else the plan's order


def ready(runs: Iterable[Run]) -> list[Run]:
    """Of the runs that are left, those whose trunk is not among them."""
    runs = list(runs)
    names = {run["run_id"] for run in runs}
    return [run for run in runs if (run["config"].get("trunk") or {}).get("run_id") not in names]


def study_folder(plan: Mapping[str, Any], workspace: Workspace) -> Path:
    """Where a backend writes what it needs for a study."""
    return workspace.studies / plan["name"]


def note_jobs(plan: Mapping[str, Any], workspace: Workspace, backend: str, jobs: Mapping[str, str]) -> None:
    """Append to the study's jobs.jsonl which job was told to train which run. jobs: run id -> job id."""
    path = study_folder(plan, workspace) / "jobs.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"backend": backend, "job": job, "run_id": run_id, "time": time.time()})
        for run_id, job in jobs.items()
    ]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))


def _settled(directory: Path) -> bool:
    path = RunDirectory(directory).record
    return path.exists() and read_record(path).status != "failed"
