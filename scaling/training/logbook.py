"""What a run under way writes down: its curve, its tracking, its time, and whether it left the path."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from scaling.config import Placement, RunConfig, run_id
from scaling.counts import Flops
from scaling.curve import CurveWriter
from scaling.record import RunDirectory
from scaling.training.checkpoint import Progress
from scaling.training.schedules import rate
from scaling.training.step import Metrics
from scaling.training.tracking import Tracker

SMOOTH_STEPS = 32  # of the running mean: one odd batch is no divergence
FLUSH_SECONDS = 0.5  # between two writes of the curve and two reports


@dataclass(frozen=True, kw_only=True)
class Live:
    """What a watcher is told of a run under way."""

    run_id: str
    step: int
    steps: int
    loss: float
    tokens_per_second: float


class Diverged(Exception):
    """The loss left the path; the message says at which step and how."""


class Logbook:
    """The writing side of one attempt."""

    def __init__(
        self,
        run: RunConfig,
        directory: RunDirectory,
        placement: Placement,
        progress: Progress,
        report: Callable[[Live], None],
        opened: float,
        flops: Callable[[int], Flops],
        writes: bool = True,
    ):
        """progress: where it starts. opened: when the attempt began, by time.perf_counter. flops: of the
        run's first so many tokens.

        writes: whether this process writes curve and tracking and reports; of several that train together one does,
        and all keep the same progress.
        """
        self.progress = progress
        self._run, self._placement, self._report = run, placement, report
        self._flops = flops
        self._warmup_steps = -(-run.schedule.warmup_tokens // run.batch_tokens)
        self._curve = CurveWriter(directory.live_curve, after_step=progress.step) if writes else None
        self._tracker = Tracker(run, directory.path, placement.tracking if writes else "off", progress.attempts)
        # Steps after the checkpoint are trained again: the time they took before was taken too.
        dropped = self._curve.dropped_seconds if self._curve else 0.0
        self._earlier_wall, self._opened = progress.wall_seconds + dropped, opened
        self._last = self._flushed = time.perf_counter()

    def start_clock(self) -> None:
        """Begin to time steps: compilation is over."""
        self._last = time.perf_counter()

    def settle(self, step: int, metrics: Metrics, data_seconds: float = 0.0) -> None:
        """Wait for a dispatched step (counted from 0) and write it down; raise Diverged if it went wrong.

        data_seconds: that the host took to make its batch.
        """
        run, loss, skipped = self._run, float(metrics.loss), bool(metrics.skipped)
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        before = self.progress
        self.progress = replace(
            before if skipped else _learned(before, loss, seconds),
            step=step + 1,
            loss_bearing=before.loss_bearing + round(float(metrics.bearing)),
            skipped=before.skipped + skipped,
            skips_in_row=before.skips_in_row + 1 if skipped else 0,
            device_seconds=before.device_seconds + seconds,
            data_seconds=before.data_seconds + data_seconds,
            wall_seconds=self.wall_seconds(),
        )
        row = {
            "step": step + 1,
            "tokens": (step + 1) * run.batch_tokens,
            "flops": self._flops((step + 1) * run.batch_tokens).exact,
            "loss": loss,
            "lr": rate(run, step),
            "grad_norm": float(metrics.grad_norm),
            "step_seconds": seconds,
            "auxiliary": float(metrics.auxiliary),
            "dropped": float(metrics.dropped),
        }
        if skipped:
            row["skipped"] = 1
        if self._curve is not None:
            self._write(row, now)
        self._check(row, skipped)

    def _write(self, row: dict[str, object], now: float) -> None:
        step, run = row["step"], self._run
        self._curve.append(row)
        if step % self._placement.log_steps == 0 or step == run.steps:
            self._tracker.log(row)
        if now - self._flushed > FLUSH_SECONDS:
            self._curve.flush()
            self._flushed = now
            self._report(
                Live(
                    run_id=run_id(run),
                    step=step,
                    steps=run.steps,
                    loss=row["loss"],
                    tokens_per_second=run.batch_tokens / row["step_seconds"],
                )
            )

    def wall_seconds(self) -> float:
        """Over all attempts, until now; of one that was killed, as far as its curve goes."""
        return self._earlier_wall + time.perf_counter() - self._opened

    def sync(self) -> None:
        """Make what is written so far survive this machine: done before every checkpoint, which goes on from there."""
        if self._curve is not None:
            self._curve.sync()

    def close(self, summary: dict[str, object]) -> None:
        try:
            if self._curve is not None:
                self._curve.close()
        finally:
            self._tracker.finish(summary)

    def _check(self, row: dict[str, object], skipped: bool) -> None:
        progress, loss = self.progress, row["loss"]
        if progress.skips_in_row >= self._run.optim.max_skips:
            raise Diverged(
                f"{progress.skips_in_row} steps in a row were skipped, up to step {row['step']}: "
                f"loss {loss:.4g}, gradient norm {row['grad_norm']:.4g}"
            )
        if skipped:
            return
        if not math.isfinite(loss):
            raise Diverged(f"loss {loss} at step {row['step']}")
        first, smooth = progress.first_loss, progress.smooth_loss
        if row["step"] > self._warmup_steps + SMOOTH_STEPS and smooth > first:
            raise Diverged(
                f"the mean loss of the last steps, {smooth:.4g} at step {row['step']}, after warm-up, "
                f"is above the first step's {first:.4g}"
            )


def _learned(before: Progress, loss: float, seconds: float) -> Progress:
    """The losses that a step whose update was taken leaves, and its time."""
    smooth = loss if before.smooth_loss is None else before.smooth_loss + (loss - before.smooth_loss) / SMOOTH_STEPS
    return replace(
        before,
        first_loss=loss if before.first_loss is None else before.first_loss,
        smooth_loss=smooth,
        useful_seconds=before.useful_seconds + seconds,
    )
