"""Tracking: wandb, offline by default, so that no account is ever needed; or TensorBoard's event files.

Every attempt of a run is a tracked run of its own: resuming an offline run
would lose its earlier part (wandb issue 3841). Runs of a study are one group,
and carry its name and their run id as tags. Nothing that goes wrong here stops
training.
"""

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling.config import RunConfig, run_id, to_dict
from scaling.provenance import STUDY

log = logging.getLogger(__name__)

TAG_LENGTH = 64  # wandb takes no longer ones


class Tracker:
    """Metrics of one attempt. mode: "offline" or "online" (wandb), "tensorboard", or "off"."""

    def __init__(self, run: RunConfig, folder: Path, mode: str, attempt: int):
        self._writer: _Wandb | _TensorBoard | None = None
        if mode == "off":
            return

        def start() -> None:
            if mode == "tensorboard":
                self._writer = _TensorBoard(run, folder, attempt)
            else:
                self._writer = _Wandb(run, folder, mode, attempt)

        self._guarded("start", start)

    def log(self, row: dict[str, Any]) -> None:
        if self._writer is not None:
            self._guarded("log", lambda: self._writer.log(row))

    def finish(self, summary: dict[str, Any]) -> None:
        if self._writer is not None:
            self._guarded("finish", lambda: self._writer.finish(summary))

    def _guarded(self, action: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever a tracking client raises must not cost a run
            log.warning("tracking stopped at %s (%s: %s); training goes on", action, type(error).__name__, error)
            self._writer = None


class _Wandb:
    """One attempt as a run of wandb's."""

    def __init__(self, run: RunConfig, folder: Path, mode: str, attempt: int):
        import wandb

        # No console capture, system statistics or code saving: the record holds provenance already, without the
        # secrets that a command line may hold.
        settings = wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True
        )
        name, study = run_id(run), os.environ.get(STUDY, "")
        self._run = wandb.init(
            project="scaling",
            mode=mode,
            dir=folder,
            name=f"{name}-{attempt}",
            group=study or name,
            tags=[tag[:TAG_LENGTH] for tag in (study, name, run.objective.kind) if tag],
            config=to_dict(run),
            settings=settings,
        )

    def log(self, row: dict[str, Any]) -> None:
        self._run.log(row, step=row["step"])

    def finish(self, summary: dict[str, Any]) -> None:
        self._run.summary.update(summary)
        self._run.finish()


class _TensorBoard:
    """One attempt as event files in `tensorboard/`, one folder an attempt."""

    def __init__(self, run: RunConfig, folder: Path, attempt: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("no tensorboardX here; pip install scaling-lab[tensorboard]") from None
        self._writer = SummaryWriter(logdir=str(folder / "tensorboard" / str(attempt)), write_to_disk=True)
        words = {"run_id": run_id(run), "study": os.environ.get(STUDY, ""), "config": to_dict(run)}
        self._writer.add_text("run", f"```\n{json.dumps(words, indent=1)}\n```")

    def log(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, global_step=row["step"])

    def finish(self, summary: dict[str, Any]) -> None:
        for name, value in summary.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._writer.add_scalar(f"final/{name}", value)
            elif value is not None:
                self._writer.add_text(f"final/{name}", str(value))
        self._writer.close()
