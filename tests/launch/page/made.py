"""A launched study of six small runs on disk, without any training: records and curves are written by hand."""

import json
from dataclasses import replace

from scaling.config import DataConfig, OptimConfig, Placement, RunConfig, ScheduleConfig, TransformerConfig, run_id
from scaling.curve import CurveWriter, compact
from scaling.outcome import record_of
from scaling.plan import Cell, Study, manifest
from scaling.record import Heldout, Provenance, RunDirectory, Tokens, write_config, write_record
from scaling.sweeps import branches
from scaling.workspace import Workspace

STEP = 16 * 4
EVIL = "<img src=x onerror=alert(1)>"


def run_of(dim=16, steps=40, seed=0):
    return RunConfig(
        model=TransformerConfig(vocab=257, dim=dim, layers=1, heads=2, context=16),
        data=DataConfig(tokenizer="bytes", vocab=257, heldout_sequences=4),
        tokens=steps * STEP,
        batch=4,
        optim=OptimConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup_tokens=STEP),
        seed=seed,
    )


def study_of(name="made", question="What grows?", arm=""):
    """A trunk with two branches, and three runs of their own."""
    cells = (
        *branches(run_of(), [20 * STEP, 40 * STEP]),
        *(Cell(run=run_of(dim=dim, steps=30), budget=1e9) for dim in (8, 24, 32)),
    )
    words = {"published": "", "shows": "", "cannot_show": "", "forecast_flops": 1e10}
    named = tuple(replace(cell, arm=arm) for cell in cells)
    return Study(name=name, question=question, cells=named, **words)


def launched(root, study):
    """A workspace in which the study's plan was written."""
    workspace = Workspace(root=root)
    workspace.studies.mkdir(parents=True, exist_ok=True)
    (workspace.studies / f"{study.name}.json").write_text(json.dumps(manifest(study)), encoding="utf-8")
    return workspace


def directory_of(workspace, run):
    return RunDirectory(workspace.runs / run_id(run))


def row(step, loss=3.0):
    tokens = step * STEP
    return {
        "step": step, "tokens": tokens, "flops": 1e4 * tokens, "loss": loss, "lr": 0.01, "grad_norm": 1.0,
        "step_seconds": 0.5, "auxiliary": 0.0, "dropped": 0.0,
    }  # fmt: skip


def begin(workspace, run, steps, first=1):
    """Write rows first..steps of a curve, as training does."""
    directory = directory_of(workspace, run)
    write_config(directory, run)
    writer = CurveWriter(directory.live_curve, after_step=first - 1)
    for step in range(first, steps + 1):
        writer.append(row(step, loss=2.0 + 4.0 / step))
    writer.close()


def settle(workspace, run, *, status="finished", message="", loss=3.0):
    """Write a record, and the curve as it is left behind."""
    directory = directory_of(workspace, run)
    begun = run.trunk.tokens if run.trunk else 0
    begin(workspace, run, run.steps, first=1 + begun // STEP)
    compact(directory.live_curve, directory.curve)
    directory.live_curve.unlink()
    held = Heldout(loss=loss, loss_se=0.01, bits_per_byte=None, bits_per_byte_se=None, sequences=4, tokens=64)
    made = Provenance(git_commit="", git_dirty="", python="3", device_kind="cpu", devices=1, host_cores=1)
    record = record_of(
        run, Placement(), status=status, message=message, heldout=held if status == "finished" else None,
        curve=directory.curve, tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=1.0),
        started_from_tokens=begun, device_seconds=2.0, wall_seconds=3.0, attempts=1, made_with=made,
    )  # fmt: skip
    write_record(directory, record)
