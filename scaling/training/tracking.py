"""Tracking with the real wandb client, offline by default: no account is ever needed.

Every attempt of a run is a tracked run of its own, grouped under the run id:
resuming an offline run would lose its earlier part (wandb issue 3841). Nothing
that goes wrong here stops training.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling.config import RunConfig, run_id, to_dict

log = logging.getLogger(__name__)


class Tracker:
    """Metrics of one attempt. mode: "offline", "online" or "off"."""

    def __init__(self, run: RunConfig, folder: Path, mode: str, attempt: int):
        self._run: Any = None
        if mode == "off":
            return

        def start() -> None:
            import wandb

            # No console capture, system statistics or code saving: the record holds provenance already, without the
            # secrets that a command line may hold.
            settings = wandb.Settings(
                silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True
            )
            name = run_id(run)
            self._run = wandb.init(
                project="scaling",
                mode=mode,
                dir=folder,
                name=f"{name}-{attempt}",
                group=name,
                config=to_dict(run),
                settings=settings,
            )

        self._guarded("start", start)

    def log(self, row: dict[str, Any]) -> None:
        if self._run is not None:
            self._guarded("log", lambda: self._run.log(row, step=row["step"]))

    def finish(self, summary: dict[str, Any]) -> None:
        if self._run is None:
            return

        def end() -> None:
            self._run.summary.update(summary)
            self._run.finish()

        self._guarded("finish", end)

    def _guarded(self, action: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever a tracking client raises must not cost a run
            log.warning("tracking stopped at %s (%s: %s); training goes on", action, type(error).__name__, error)
            self._run = None
