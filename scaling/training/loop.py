"""Train one run: from a config and a token store to a record.

A step is dispatched before the metrics of the one before are read, so the
device never waits for the host. A run may be killed at any moment: started
again, it goes on from its last checkpoint and gives the same losses.

Several processes (`scaling.parallel.hosts`) do the same steps on a mesh of all
their devices. They share a file system. The first holds the lease, decides and
writes config, curve and record; all write their parts of checkpoints.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from scaling.config import NgramConfig, Placement, RunConfig, run_id
from scaling.curve import compact, read_live
from scaling.data.batches import check_enough
from scaling.data.store import Store
from scaling.outcome import record_of
from scaling.parallel.hosts import check_alike, everyones, firsts, is_first, several
from scaling.provenance import keep_changes, provenance
from scaling.record import (
    Heldout,
    RunDirectory,
    RunRecord,
    read_config,
    read_record,
    write_record,
)
from scaling.training.checkpoint import Checkpoints, Progress, restore
from scaling.training.claim import Claim, claimed
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


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What an attempt at a run works with, from its first step to its record."""

    run: RunConfig
    store: Store
    placement: Placement
    site: Site
    keep: Collection[int]  # steps at which branches start
    checkpoints: Checkpoints
    claim: Claim
    stop: threading.Event
    opened: float  # when it began, by `time.perf_counter`


def train(
    run: RunConfig,
    runs: Path,
    store: Store,
    *,
    placement: Placement = Placement(),
    keep_tokens: Collection[int] = (),
    report: Callable[[Live], None] = lambda live: None,
    stop: threading.Event | None = None,
    patience_seconds: float = 0.0,
) -> RunRecord | None:
    """Train a run to its end and return its record; None if it was stopped or cancelled before, in any process.

    runs: the folder of run directories. keep_tokens: token counts at which
    branches will start: their checkpoints are kept. A run with a record is not
    trained again, unless it failed. Raises RunHeld if another process has it, and
    still has it after `patience_seconds`.
    """
    check_enough(store, run)
    check_alike("run and placement", (run, placement))
    site = _site(run, placement)
    directory, stop = RunDirectory(runs / run_id(run)), stop or threading.Event()
    with claimed(directory, run, stop, patience_seconds=patience_seconds) as claim:
        if claim.record is not None:
            return claim.record
        if is_first():
            keep_changes(directory.path)
        if isinstance(run.model, NgramConfig):
            return _counted(run, store, claim, placement)
        keep = {tokens // run.batch_tokens for tokens in keep_tokens}
        with Checkpoints(directory.checkpoints, keep) as checkpoints:
            attempt = Attempt(
                run=run,
                store=store,
                placement=placement,
                site=site,
                keep=keep,
                checkpoints=checkpoints,
                claim=claim,
                stop=stop,
                opened=time.perf_counter(),
            )
            return _trained(attempt, report)


def _site(run: RunConfig, placement: Placement) -> Site:
    if not isinstance(run.model, NgramConfig):
        return site_of(run, placement)
    if several():
        raise ValueError("an n-gram model is counted by one process; start one alone, with SCALING_PROCESSES=1")
    return HERE


def _trained(attempt: Attempt, report: Callable[[Live], None]) -> RunRecord | None:
    run, directory, site = attempt.run, attempt.claim.directory, attempt.site
    state, progress = _start(attempt)
    feed = Feed(run, attempt.store, site)
    step_of = warmed_step(run, feed, site)
    logbook = Logbook(
        run, directory, attempt.placement, progress, report, attempt.opened, feed.flops, writes=is_first()
    )
    profile_steps = attempt.placement.profile_steps if is_first() else 0
    status, message = "finished", ""
    try:
        with traced(step_of, directory.profile, profile_steps) as step_of:
            state = _follow(attempt, feed, logbook, state, step_of)
    except Diverged as error:  # at the same step in every process: all read the same sums
        status, message = "diverged", str(error)
    except BaseException:
        logbook.close({"status": "failed"})
        raise
    if logbook.progress.step < run.steps and status == "finished":
        logbook.close({"status": "interrupted"})
        return None
    heldout = evaluate(run, attempt.store, feed, state.params, site) if status == "finished" else None
    if heldout is not None and not math.isfinite(heldout.loss):  # its last steps were skipped, too few to tell
        status, message, heldout = "diverged", f"held-out loss {heldout.loss} after the last step", None
    logbook.close({"status": status, "heldout_loss": heldout.loss if heldout else None})
    attempt.checkpoints.wait()
    record = _recorded(attempt, feed, logbook, status, message, heldout) if is_first() else None
    firsts(0)  # it is there
    return record or read_record(directory.record)


def _recorded(
    attempt: Attempt, feed: Feed, logbook: Logbook, status: str, message: str, heldout: Heldout | None
) -> RunRecord:
    """Write the record of a run that has ended, and its curve in its last form."""
    run, claim = attempt.run, attempt.claim
    progress, directory = logbook.progress, claim.directory
    claim.check()
    compact(directory.live_curve, directory.curve)
    seen = progress.step * run.batch_tokens
    device = jax.devices()[0]
    record = record_of(
        run,
        attempt.placement,
        status=status,
        message=message,
        heldout=heldout,
        curve=directory.curve,
        tokens=feed.read(seen, progress.loss_bearing),
        flops=feed.flops,
        started_from_tokens=progress.started_from_step * run.batch_tokens,
        device_seconds=progress.device_seconds,
        useful_seconds=progress.useful_seconds,
        data_seconds=progress.data_seconds,
        skipped_steps=progress.skipped,
        wall_seconds=logbook.wall_seconds(),
        attempts=progress.attempts,
        made_with=provenance(device.device_kind, _devices()),
    )
    write_record(directory, record)
    directory.live_curve.unlink()  # only now: a kill before the record must find it
    return record


def _counted(run: RunConfig, store: Store, claim: Claim, placement: Placement) -> RunRecord:
    record = count(run, store, claim.directory, placement, provenance(jax.devices()[0].device_kind, _devices()))
    claim.check()
    write_record(claim.directory, record)
    return record


def _devices() -> int:
    """What device seconds are counted over: cores on CPU, as if every process had as many, else accelerators."""
    if jax.default_backend() != "cpu":
        return jax.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores * jax.process_count()


def _start(attempt: Attempt) -> tuple[TrainState, Progress]:
    """The state to go on from: this run's last checkpoint, else its trunk's, else a fresh one."""
    run, site, mine = attempt.run, attempt.site, attempt.claim.directory
    like = checkpoint_shapes(run, site)
    rows = read_live(mine.live_curve)
    if own := attempt.checkpoints.latest(like, at_most=rows[-1]["step"] if rows else 0):
        state, progress = own
        return from_checkpoint(run, state, site), replace(progress, attempts=progress.attempts + 1)
    if run.trunk is not None:
        directory = RunDirectory(mine.path.parent / run.trunk.run_id)
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


def _follow(attempt: Attempt, feed: Feed, logbook: Logbook, state: TrainState, step_of: Callable) -> TrainState:
    """Train to the last step, or to the first after it is asked to stop; the state reached is checkpointed."""
    run = attempt.run
    saved = time.perf_counter()
    pending = None
    logbook.start_clock()
    for step in range(logbook.progress.step, run.steps):
        began = time.perf_counter()
        tokens = feed.step(step)
        data_seconds = time.perf_counter() - began
        state, metrics = step_of(state, tokens, feed.knowledge, hyper(run, rate(run, step)))
        if pending is not None:
            logbook.settle(*pending)
        pending = (step, metrics, data_seconds)
        due, asked = _asked(attempt, step, saved)
        if due or asked or step + 1 in attempt.keep or step + 1 == run.steps:
            logbook.settle(*pending)
            pending = None
            logbook.sync()
            attempt.claim.check()
            attempt.checkpoints.save(for_checkpoint(run, state, attempt.site), logbook.progress)
            saved = time.perf_counter()
            if asked:
                break
    return state


def _asked(attempt: Attempt, step: int, saved: float) -> tuple[bool, bool]:
    """Whether the clock, since `saved`, asks for a checkpoint after this step, and whether anybody asks to stop.

    Several processes must do the same at the same step, so they tell each
    other: the clock of the first counts, and a signal to any. Telling waits for
    the device, therefore it is done every `log_steps` steps only.
    """
    due = time.perf_counter() - saved > attempt.placement.checkpoint_seconds
    asked = attempt.stop.is_set() or attempt.claim.cancelled
    if not several():
        return due, asked
    if (step + 1) % attempt.placement.log_steps:
        return False, False
    told = everyones(due, asked)
    return bool(told[0, 0]), bool(told[:, 1].any())


def warmed_step(run: RunConfig, feed: Feed, site: Site = HERE) -> Callable:
    """The step of a run's shape, compiled and run once on a state of its own: a run's clock starts after it."""
    step = compiled_step(task_of(run), run.precision, *site)
    state = compiled_init(task_of(run), *site)(0)
    for number in feed.of_each_shape():
        state, _ = step(state, feed.step(number), feed.knowledge, hyper(run, 0.0))
    jax.block_until_ready(state)
    return step


def _check_same_path(trunk: RunConfig, run: RunConfig) -> None:
    """Raise unless the trunk and the run learn the same up to where the run leaves it."""
    different = [
        name
        for name in ("model", "objective", "batch", "optim", "precision", "seed")
        if getattr(trunk, name) != getattr(run, name)
    ]
    if trunk.data != run.data.before_stages:
        different.append("data")
    if trunk.schedule.warmup_tokens != run.schedule.warmup_tokens or trunk.schedule.kind != "constant":
        different.append("schedule")
    if run.trunk.tokens > cooldown_start(run) * run.batch_tokens:
        different.append("trunk.tokens (the cooldown has begun there)")
    if different:
        raise ValueError(
            f"run {run_id(run)} cannot follow trunk {run_id(trunk)}: they differ in {', '.join(different)}; "
            "make both with scaling.sweeps.branches"
        )
