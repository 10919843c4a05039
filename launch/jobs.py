"""Which job of a backend was told to train which run: the study's `jobs.jsonl`, only ever appended to."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from scaling.workspace import Workspace


def note(workspace: Workspace, study: str, backend: str, jobs: Mapping[str, str]) -> None:
    """jobs: run id -> job id."""
    path = _path(workspace, study)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = round(time.time(), 3)
    lines = [{"backend": backend, "job": job, "run_id": name, "time": now} for name, job in jobs.items()]
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * torn + "".join(json.dumps(line) + "\n" for line in lines))


def noted(workspace: Workspace, study: str, backend: str) -> Iterator[tuple[str, str]]:
    """Run id and job id of all that a backend was ever told, in order. A line torn by a crash is passed over."""
    path = _path(workspace, study)
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            values = json.loads(line)
            if values["backend"] == backend:
                yield values["run_id"], values["job"]


def _path(workspace: Workspace, study: str) -> Path:
    return workspace.studies / study / "jobs.jsonl"
