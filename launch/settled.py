"""Records as looking on needs them: taken at their word, and read once by a process."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a record says of how its run ended. status: unreadable where it cannot be read."""

    status: str
    message: str = ""
    loss: float | None = None  # held-out when finished, else of the last training steps
    tokens: int = 0  # seen, the trunk's part included
    wall_seconds: float | None = None  # of all its attempts; None where nobody measured it
    flops: float = 0.0  # that the run itself computed
    devices: int = 0
    device_kind: str = ""


class Memory:
    """Records that this process has read; one is read again when its file has changed.

    A record must be whole JSON and that of its run, but its digest and its
    other fields are not checked: with thousands of runs that takes longer than
    all else. The analysis reads every record anew and checks all of it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], Settled]] = {}

    def settled(self, path: Path) -> Settled | None:
        """What the record at a path says; None where there is none."""
        name = str(path)
        known = self._known.get(name)
        try:
            if known is None or known[0] != _stamp(os.stat(name)):
                with open(name, "rb", buffering=0) as file:
                    known = self._known[name] = _stamp(os.fstat(file.fileno())), _settled(path, file.read())
        except FileNotFoundError:  # or it was moved aside just now
            return None
        return known[1]


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _settled(path: Path, text: bytes) -> Settled:
    try:
        body = from_json(text)  # faster than json.loads
        if body["run_id"] != path.parent.name:
            return _unreadable(path, f"is the record of run {body['run_id']}; move it back to that run's folder")
        return _of_body(body)
    except ValueError as error:
        return _unreadable(path, f"not whole JSON ({error}); delete it and train this run again")
    except (KeyError, TypeError) as error:
        return _unreadable(path, f"no record of a run ({error}); delete it and train this run again")


def _of_body(body: dict[str, Any]) -> Settled:
    heldout, cost, made_with = body["heldout"], body["cost"], body["provenance"]
    return Settled(
        status=body["status"],
        message=body["message"],
        loss=heldout["loss"] if heldout else body["train_loss"],
        tokens=body["tokens"]["seen"],
        wall_seconds=None if body["status"] == "failed" and not cost["wall_seconds"] else cost["wall_seconds"],
        flops=cost["flops_computed"],
        devices=made_with["devices"],
        device_kind=made_with["device_kind"],
    )


def _unreadable(path: Path, problem: str) -> Settled:
    return Settled(status="unreadable", message=f"{path}: {problem}")
