"""What tracking, the curve and asynchronous checkpoints cost, as a share of a training step.

    python -m benchmarks.overhead [--root .] [--runs FOLDER] [--out FILE]

One process pinned to one core, like a worker of the pool, trains the d 64
model three ways, in turn, over several rounds:

    bare     the compiled step over the same batches, made beforehand; nothing is written
    plain    `train` with tracking off and no checkpoint but the last
    full     `train` with offline tracking and a checkpoint every few seconds

Steps are timed from the first to the last; what a run pays once (its start,
wandb's start and finish, the last checkpoint, the final evaluation) is
reported apart. The overhead of a round is its mean step over the bare one's;
the result is the median of the rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_seconds, command, machine, save, wait_for_idle
from benchmarks.train_cpu import BATCH, SHAPES
from launch.devices import Slot
from launch.pool import _environment
from scaling.config import DataConfig, Placement, RunConfig, ScheduleConfig
from scaling.workspace import Workspace

TARGET = 0.05
LOG_STEPS = 10


def main() -> None:
    options = _options()
    if options.measure:
        return print(json.dumps(measure(options)))
    before = machine()
    core = min(os.sched_getaffinity(0))
    slot = Slot(cores=(core,), environment=(("JAX_PLATFORMS", "cpu"),))
    this = [sys.executable, "-m", "benchmarks.overhead", *sys.argv[1:], "--measure"]
    environment = _environment(slot, Workspace(root=options.root)) | {"WANDB_SILENT": "true"}
    wait_for_idle(options.wait_seconds)
    started, busy = time.monotonic(), busy_seconds()
    said = subprocess.run(this, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    others = (busy_seconds() - busy - sum(os.times()[:4])) / (time.monotonic() - started)
    result = {
        "machine": before,
        "load_after": os.getloadavg(),
        "others_cores": round(max(0.0, others), 2),
        "command": command(),
        **json.loads(said.stdout.splitlines()[-1]),
        "target": TARGET,
    }
    print_table(result)
    save(result, options.out)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train the three ways in turn; milliseconds a step of every round, and what is paid once."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX counts the cores for its threads
    from scaling.data.prepare import prepare
    from scaling.training.feed import Feed
    from scaling.training.loop import warmed_step

    store = prepare(DataConfig(), options.root, lambda line: None)
    runs = Path(tempfile.mkdtemp(prefix="overhead-", dir=options.runs))
    some_run = run_of(LOG_STEPS, seed=0)
    warmed_step(some_run, Feed(some_run, store))
    ways: dict[str, Callable[[RunConfig], dict[str, float]]] = {
        "bare": lambda run: bare(run, store),
        "plain": lambda run: trained(run, store, runs / "plain", Placement(tracking="off", checkpoint_seconds=1e9)),
        "full": lambda run: trained(
            run,
            store,
            runs / "full",
            Placement(tracking="offline", checkpoint_seconds=options.checkpoint_seconds, log_steps=LOG_STEPS),
        ),
    }
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    first: dict[str, float] = {}
    try:
        for number in range(options.rounds + 1):  # the first warms up what a process pays once
            run = run_of(options.steps if number else LOG_STEPS, seed=number)
            for way in _rotated(list(ways), number):
                took = ways[way](run)
                if number:
                    found[way].append(took)
                    print(f"round {number}/{options.rounds}: {way} {took}", file=sys.stderr, flush=True)
                else:
                    first[way] = took["fixed_seconds"]
        tracked = len(list((runs / "full").glob("*/wandb/offline-run-*")))
        if tracked != options.rounds + 1:
            raise RuntimeError(f"{tracked} of {options.rounds + 1} runs were tracked: wandb did not start")
    finally:
        shutil.rmtree(runs)
    return {
        "steps": options.steps,
        "checkpoint_seconds": options.checkpoint_seconds,
        "log_steps": LOG_STEPS,
        "first_fixed_seconds": first,
        **summary(found),
    }


def run_of(steps: int, seed: int) -> RunConfig:
    model = SHAPES["d64"]
    return RunConfig(
        model=model,
        data=DataConfig(vocab=model.vocab, max_epochs=1e9),
        tokens=steps * BATCH * model.context,
        batch=BATCH,
        schedule=ScheduleConfig(warmup_tokens=BATCH * model.context),
        seed=seed,
    )


def bare(run: RunConfig, store: Any) -> dict[str, float]:
    """The compiled step, nothing else: no metric is read before the last step."""
    import jax

    from scaling.training.feed import Feed
    from scaling.training.loop import warmed_step
    from scaling.training.losses import task_of
    from scaling.training.schedules import rate
    from scaling.training.step import compiled_init, hyper

    feed = Feed(run, store)
    step_of = warmed_step(run, feed)
    state = jax.block_until_ready(compiled_init(task_of(run))(run.seed))
    batches = [feed.step(step) for step in range(run.steps)]
    started = time.perf_counter()
    for step, tokens in enumerate(batches):
        state, _ = step_of(state, tokens, feed.knowledge, hyper(run, rate(run, step)))
    jax.block_until_ready(state)
    return {"step_ms": 1e3 * (time.perf_counter() - started) / run.steps, "fixed_seconds": 0.0}


def trained(run: RunConfig, store: Any, runs: Path, placement: Placement) -> dict[str, float]:
    """A whole run, as a worker trains it; its device seconds are those of its steps."""
    from scaling.training.loop import train

    started = time.perf_counter()
    record = train(run, runs, store, placement=placement)
    wall = time.perf_counter() - started
    steps = record.cost.device_seconds
    return {"step_ms": 1e3 * steps / run.steps, "fixed_seconds": wall - steps}


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds, and the overhead of each round over its own bare steps."""
    overhead = {
        way: [each["step_ms"] / alone["step_ms"] - 1 for each, alone in zip(found[way], found["bare"], strict=True)]
        for way in ("plain", "full")
    }
    return {
        "step_ms": {way: statistics.median(each["step_ms"] for each in all_) for way, all_ in found.items()},
        "fixed_seconds": {
            way: statistics.median(each["fixed_seconds"] for each in all_) for way, all_ in found.items()
        },
        "overhead": {way: statistics.median(shares) for way, shares in overhead.items()},
        "overhead_of_best": {
            way: min(each["step_ms"] for each in found[way]) / min(each["step_ms"] for each in found["bare"]) - 1
            for way in overhead
        },
        "overhead_rounds": overhead,
        "rounds": found,
    }


def print_table(result: dict[str, Any]) -> None:
    for way, milliseconds in result["step_ms"].items():
        share = f"   overhead {result['overhead'][way]:+7.2%}" if way in result["overhead"] else ""
        once = (
            f"{result['fixed_seconds'][way]:.2f} s paid once ({result['first_fixed_seconds'][way]:.2f} s by the first)"
        )
        print(f"{way:6} {milliseconds:8.2f} ms a step, {once}{share}")
    print(f"target: below {TARGET:.0%}; other programs used {result['others_cores']} cores meanwhile")


def _rotated(ways: list[str], by: int) -> list[str]:
    """Each round begins with another way, so that a drift of the machine favours none."""
    by %= len(ways)
    return ways[by:] + ways[:by]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("."), help="folder with datasets/; prepared if need be")
    parser.add_argument("--runs", type=Path, help="where the runs are written and removed; default: a temporary folder")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--checkpoint-seconds", type=float, default=5.0)
    parser.add_argument("--wait-seconds", type=float, default=60.0, help="at most, for an idle machine")
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
