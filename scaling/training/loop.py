"""Train one run: from a config and a token store to a record.

A step is dispatched before the metrics of the one before are read, so the
device never waits for the host. A run may be killed at any moment: started
again, it goes on from its last checkpoint and gives the same losses.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import jax
from filelock import FileLock, Timeout

from scaling.config import NgramConfig, Placement, RunConfig, run_id
from scaling.curve import compact
from scaling.data.batches import check_enough, tokens_read
from scaling.data.store import Store
from scaling.outcome import record_of
from scaling.provenance import provenance
from scaling.record import RunDirectory, RunRecord, Tokens, read_config, read_record, write_config, write_record
from scaling.training.checkpoint import Checkpoints, Progress, restore
from scaling.training.counting import count
from scaling.training.evaluate import evaluate
from scaling.training.feed import Feed
from scaling.training.logbook import Diverged, Live, Logbook
from scaling.training.losses import task_of
from scaling.training.schedules import cooldown_start, rate
from scaling.training.site import (
    HERE,
    Site,
    checkpoint_shapes,
    for_checkpoint,
    fresh_state,
    from_checkpoint,
    site_of,
)
from scaling.training.step import TrainState, compiled_init, compiled_step, hyper
from scaling.training.trace import traced


class RunHeld(Exception):
    """Another process is training this run."""


def train(
    run: RunConfig,
    runs: Path,
    store: Store,
    *,
    placement: Placement = Placement(),
    keep_tokens: Collection[int] = (),
    report: Callable[[Live], None] = lambda live: None,
    stop: threading.Event | None = None,
) -> RunRecord | None:
    """Train a run to its end and return its record; None if `stop` was set before.

    runs: the folder of run directories. keep_tokens: token counts at which
    branches will start: their checkpoints are kept. A run with a record is not
    trained again, unless it failed. Raises RunHeld if another process has it.
    """
    check_enough(store, run)
    site = HERE if isinstance(run.model, NgramConfig) else site_of(run, placement)
    directory = RunDirectory(runs / run_id(run))
    write_config(directory, run)
    try:
        with FileLock(directory.lock, timeout=0):
            if directory.record.exists() and (record := read_record(directory.record)).status != "failed":
                return record
            if isinstance(run.model, NgramConfig):
                return _counted(run, store, directory, placement)
            keep = {tokens // run.batch_tokens for tokens in keep_tokens}
            with Checkpoints(directory.checkpoints, keep) as checkpoints:
                return _attempt(run, runs, store, placement, site, keep, checkpoints, report, stop or threading.Event())
    except Timeout:
        raise RunHeld(f"{directory.path}: another process is training this run") from None


def _attempt(
    run: RunConfig,
    runs: Path,
    store: Store,
    placement: Placement,
    site: Site,
    keep: Collection[int],
    checkpoints: Checkpoints,
    report: Callable[[Live], None],
    stop: threading.Event,
) -> RunRecord | None:
    opened = time.perf_counter()
    directory = RunDirectory(runs / run_id(run))
    state, progress = _start(run, runs, checkpoints, site)
    feed = Feed(run, store)
    step_of = warmed_step(run, feed, site)
    logbook = Logbook(run, directory, placement, progress, report, opened)
    status, message = "finished", ""
    try:
        with traced(step_of, directory.profile, placement.profile_steps) as step_of:
            state = _follow(run, feed, placement, site, keep, checkpoints, logbook, state, step_of, stop)
    except Diverged as error:
        status, message = "diverged", str(error)
    if stop.is_set() and logbook.progress.step < run.steps and status == "finished":
        logbook.close({"status": "interrupted"})
        return None
    heldout = evaluate(run, store, feed, state.params, site) if status == "finished" else None
    if heldout is not None and not math.isfinite(heldout.loss):  # its last steps were skipped, too few to tell
        status, message, heldout = "diverged", f"held-out loss {heldout.loss} after the last step", None
    logbook.close({"status": status, "heldout_loss": heldout.loss if heldout else None})
    checkpoints.wait()
    compact(directory.live_curve, directory.curve)
    seen = logbook.progress.step * run.batch_tokens
    unique, epochs = tokens_read(store, seen, run.text)
    device = jax.devices()[0]
    record = record_of(
        run,
        placement,
        status=status,
        message=message,
        heldout=heldout,
        curve=directory.curve,
        tokens=Tokens(seen=seen, loss_bearing=logbook.progress.loss_bearing, unique=unique, epochs=epochs),
        started_from_tokens=progress.started_from_step * run.batch_tokens,
        device_seconds=logbook.progress.device_seconds,
        useful_seconds=logbook.progress.useful_seconds,
        skipped_steps=logbook.progress.skipped,
        wall_seconds=logbook.wall_seconds(),
        attempts=progress.attempts,
        made_with=provenance(device.device_kind, _devices()),
    )
    write_record(directory, record)
    directory.live_curve.unlink()  # only now: a kill before the record must find it
    return record


def _counted(run: RunConfig, store: Store, directory: RunDirectory, placement: Placement) -> RunRecord:
    record = count(run, store, directory, placement, provenance(jax.devices()[0].device_kind, _devices()))
    write_record(directory, record)
    return record


def _devices() -> int:
    """What device seconds are counted over: cores on CPU, else accelerators."""
    if jax.default_backend() != "cpu":
        return jax.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(run: RunConfig, runs: Path, checkpoints: Checkpoints, site: Site) -> tuple[TrainState, Progress]:
    """The state to go on from: this run's last checkpoint, else its trunk's, else a fresh one."""
    like = checkpoint_shapes(run, site)
    if own := checkpoints.latest(like):
        state, progress = own
        return from_checkpoint(run, state, site), replace(progress, attempts=progress.attempts + 1)
    if run.trunk is not None:
        directory = RunDirectory(runs / run.trunk.run_id)
        if directory.checkpoints.is_dir():
            _check_same_path(read_config(directory), run)
        found = restore(directory.checkpoints, like, at_most=run.trunk.tokens // run.batch_tokens)
        if found is not None:
            state, progress = found
            return from_checkpoint(run, state, site), Progress(
                step=progress.step,
                first_loss=progress.first_loss,
                smooth_loss=progress.smooth_loss,
                skipped=progress.skipped,
                skips_in_row=progress.skips_in_row,
                loss_bearing=progress.loss_bearing,
                started_from_step=progress.step,
            )
    # A branch without its trunk's checkpoint walks the same path from the start, only slower.
    return fresh_state(run, site), Progress(step=0)


def _follow(
    run: RunConfig,
    feed: Feed,
    placement: Placement,
    site: Site,
    keep: Collection[int],
    checkpoints: Checkpoints,
    logbook: Logbook,
    state: TrainState,
    step_of: Callable,
    stop: threading.Event,
) -> TrainState:
    """Train to the last step, or to the first after `stop`; the state reached is checkpointed."""
    saved = time.perf_counter()
    pending = None
    logbook.start_clock()
    for step in range(logbook.progress.step, run.steps):
        state, metrics = step_of(state, feed.step(step), feed.knowledge, hyper(run, rate(run, step)))
        if pending is not None:
            logbook.settle(*pending)
        pending = (step, metrics)
        due = time.perf_counter() - saved > placement.checkpoint_seconds
        if due or step + 1 in keep or step + 1 == run.steps or stop.is_set():
            logbook.settle(*pending)
            pending = None
            logbook.flush()
            checkpoints.save(for_checkpoint(run, state, site), logbook.progress)
            saved = time.perf_counter()
            if stop.is_set():
                break
    return state


def warmed_step(run: RunConfig, feed: Feed, site: Site = HERE) -> Callable:
    """The step of a run's shape, compiled and run once on a state of its own: a run's clock starts after it."""
    step = compiled_step(task_of(run), run.precision, *site)
    state = compiled_init(task_of(run), *site)(0)
    jax.block_until_ready(step(state, feed.step(0), feed.knowledge, hyper(run, 0.0)))
    return step


def _check_same_path(trunk: RunConfig, run: RunConfig) -> None:
    """Raise unless the trunk and the run learn the same up to where the run leaves it."""
    different = [
        name
        for name in ("model", "objective", "data", "batch", "optim", "precision", "seed")
        if getattr(trunk, name) != getattr(run, name)
    ]
    if trunk.schedule.warmup_tokens != run.schedule.warmup_tokens or trunk.schedule.kind != "constant":
        different.append("schedule")
    if run.trunk.tokens > cooldown_start(run) * run.batch_tokens:
        different.append("trunk.tokens (the cooldown has begun there)")
    if different:
        raise ValueError(
            f"run {run_id(run)} cannot follow trunk {run_id(trunk)}: they differ in {', '.join(different)}; "
            "make both with scaling.plan.branches"
        )
