"""A launched study as a file: the only thing that launchers on other machines need beside the data.

One line a run, so that a file of ten thousand can be looked at and compared.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from scaling.config import Placement, RunConfig, from_dict, run_id, to_json
from scaling.disk import write_atomic
from scaling.plan import Study, entries, heading
from scaling.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run of a plan."""

    run: RunConfig
    keep_tokens: tuple[int, ...]  # where its branches start


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """What a plan file says."""

    path: Path
    name: str
    placement: Placement
    runs: dict[str, dict[str, Any]]  # as they were written, by run id
    later: int = 0  # runs, at most, that the losses of these decide

    def planned(self, name: str) -> Planned:
        """One run, checked. Raises ValueError where the plan has none of that id, or what it has is another."""
        if name not in self.runs:
            near = [known for known in self.runs if known.startswith(name[:4])]
            known = f"; near it are {', '.join(near[:3])}" if near else ""
            raise ValueError(f"{self.path}: no run {name!r} among its {len(self.runs)}{known}")
        entry = self.runs[name]
        run = from_dict(RunConfig, entry["config"], f"{self.path}: run {name}")
        if run_id(run) != name:
            raise ValueError(f"{self.path}: run {name} was edited, its config is that of {run_id(run)}; plan it again")
        return Planned(run=run, keep_tokens=tuple(entry["keep_tokens"]))


def plan_path(workspace: Workspace, study: str) -> Path:
    return workspace.studies / f"{study}.json"


def write_plan(study: Study, workspace: Workspace) -> Path:
    """Write a study whose data are prepared; returns the file, which is left alone where it says that already."""
    workspace.studies.mkdir(parents=True, exist_ok=True)
    runs = ",\n".join(f'{json.dumps(entry)[:-1]}, "config": {to_json(run)}}}' for entry, run in entries(study))
    head = json.dumps(heading(study), indent=1).removesuffix("\n}")
    path = plan_path(workspace, study.name)
    text = f'{head},\n "runs": [\n{runs}\n]}}\n'
    if not path.exists() or path.read_bytes() != text.encode():
        write_atomic(path, text)
    return path


def read_plan(path: Path) -> PlanFile:
    """Raises ValueError, naming the file, where it is not a plan."""
    try:
        values = from_json(path.read_bytes())  # faster than json.loads
        runs = {entry["run_id"]: entry for entry in values["runs"]}
        placement, name = values["placement"], values["name"]
        if not all({"config", "keep_tokens"} <= entry.keys() for entry in runs.values()):
            raise KeyError("config")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such plan; `scaling launch STUDY` writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a whole plan ({type(error).__name__}: {error}); launch the study again, which writes it anew"
        ) from None
    placement = from_dict(Placement, placement, f"{path}: placement")
    return PlanFile(path=path, name=name, placement=placement, runs=runs, later=values.get("later", 0))
