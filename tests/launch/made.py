"""A launched study whose runs were never trained: plan, records, curves and attempts written by hand."""

import json
from dataclasses import replace

from scaling.config import Placement, Source, run_id
from scaling.curve import COLUMNS
from scaling.hardware import HARDWARE
from scaling.outcome import record_of
from scaling.plan_file import write_plan
from scaling.provenance import provenance
from scaling.record import Heldout, RunDirectory, Tokens, write_config, write_record
from scaling.workspace import Workspace
from tests.launch.tiny import study_of

DOLLARS = HARDWARE["cpu-core"].dollars_per_hour


def launched(root, *more):
    """(study, workspace): trunk, two branches and one other run, of data that nobody prepared."""
    study = replace(study_of(Source(kind="folder", path="texts"), *more), placement=Placement(tracking="off"))
    workspace = Workspace(root=root)
    write_plan(study, workspace)
    return study, workspace


def directory(workspace, run):
    return RunDirectory(workspace.runs / run_id(run))


def begin(workspace, run, steps, step_seconds=0.5):
    """A run under way: its config, and a curve from its own first step to `steps`."""
    found = directory(workspace, run)
    write_config(found, run)
    first = run.trunk.tokens // run.batch_tokens if run.trunk else 0
    rows = [
        dict.fromkeys(COLUMNS, 0.0)
        | {
            "step": step,
            "tokens": step * run.batch_tokens,
            "flops": 1e6 * step,
            "loss": 3.0,
            "step_seconds": step_seconds,
        }
        for step in range(first + 1, steps + 1)
    ]
    found.live_curve.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return found


def settle(workspace, run, status="finished", *, loss=3.0, wall_seconds=70.0, message=""):
    """A record of a run."""
    found = directory(workspace, run)
    write_config(found, run)
    heldout = Heldout(loss=loss, loss_se=0.1, bits_per_byte=2.0, bits_per_byte_se=0.1, sequences=4, tokens=64)
    record = record_of(
        run,
        Placement(),
        status=status,
        message=message,
        heldout=heldout if status == "finished" else None,
        curve=None,
        tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=0.1),
        started_from_tokens=run.trunk.tokens if run.trunk else 0,
        device_seconds=min(60.0, wall_seconds),
        wall_seconds=wall_seconds,
        attempts=1,
        made_with=provenance("cpu", 1),
    )
    write_record(found, record)
    return found


def attempts(found, *causes):
    """One begun attempt a cause; None: it never said how it ended."""
    lines = []
    for number, cause in enumerate(causes, start=1):
        lines.append({"event": "begin", "attempt": number, "host": "here", "pid": 1, "time": 0.0})
        if cause:
            lines.append({"event": "end", "attempt": number, "cause": cause, "message": "", "time": 1.0})
    found.attempts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
