"""Run folders as training leaves them, without training."""

import json
from pathlib import Path

from scaling.config import Placement, RunConfig, run_id
from scaling.outcome import failed_record, record_of
from scaling.provenance import provenance
from scaling.record import Heldout, RunDirectory, Tokens, write_config, write_record
from scaling.training.seal import seal


def folder_of(run: RunConfig, root: Path) -> RunDirectory:
    directory = RunDirectory(root / "runs" / run_id(run))
    write_config(directory, run)
    return directory


def train_to(directory: RunDirectory, step: int, *, last: int = 2) -> None:
    """A curve up to a step and a sealed checkpoint of it; older ones go."""
    begun = len(steps_of_curve(directory))
    with directory.live_curve.open("a") as file:
        file.writelines(json.dumps({"step": number}) + "\n" for number in range(begun + 1, step + 1))
    folder = directory.checkpoints / str(step)
    (folder / "state").mkdir(parents=True)
    for part in range(3):
        (folder / "state" / f"{part}").write_bytes(bytes([part]) * (step + part))
    seal(folder, {"a": (1,)})
    steps = sorted(int(path.name) for path in directory.checkpoints.iterdir())
    for old in steps[:-last]:
        for path in sorted((directory.checkpoints / str(old)).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (directory.checkpoints / str(old)).rmdir()


def finish(directory: RunDirectory, run: RunConfig, loss: float = 3.0) -> None:
    record = record_of(
        run,
        Placement(),
        status="finished",
        message="",
        heldout=Heldout(loss=loss, loss_se=0.1, bits_per_byte=1.0, bits_per_byte_se=0.1, sequences=4, tokens=64),
        curve=None,
        tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=1.0),
        started_from_tokens=0,
        device_seconds=1.0,
        wall_seconds=1.0,
        attempts=1,
        made_with=provenance("cpu", 1),
    )
    directory.curve.write_bytes(b"a table")
    write_record(directory, record)
    directory.live_curve.unlink()


def fail(directory: RunDirectory, run: RunConfig) -> None:
    write_record(directory, failed_record(run, Placement(), "it broke", 0))


def steps_of_curve(directory: RunDirectory) -> list[int]:
    if not directory.live_curve.exists():
        return []
    return [json.loads(line)["step"] for line in directory.live_curve.read_text().splitlines()]
