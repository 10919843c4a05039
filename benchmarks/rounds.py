"""Ways to do the same work, measured in turn, each in fresh processes with the environment of the pool's workers.

On a machine that is not idle a spinning thread pool collapses, PyTorch's
first. So each measurement waits for other programs to rest, is repeated if they
did not, and carries how many cores they used. Imports no JAX.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import IDLE_CORES, busy_seconds, wait_for_idle
from launch.devices import Slot
from launch.pool import _environment
from scaling.workspace import Workspace

TRIES = 3  # of a measurement, until one found the machine idle

Command = Sequence[str]
Ways = Mapping[str, Sequence[Command]]  # commands that run at once, by the name of the way


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement, and how many cores other programs used meanwhile: it is worth little if they did."""

    tokens_per_second: float
    others_cores: float
    peer: str  # the library, with its version


def interleaved(ways: Ways, *, title: str, rounds: int, root: Path, wait_seconds: float) -> dict[str, list[Measured]]:
    """Every way once a round."""
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, commands in ways.items():
            found[way].append(undisturbed(commands, root, wait_seconds))
            print(f"{title} round {number + 1}/{rounds}: {way} {found[way][-1]}", file=sys.stderr, flush=True)
    return found


def undisturbed(commands: Sequence[Command], root: Path, wait_seconds: float) -> Measured:
    """The least disturbed of up to TRIES measurements, each begun when other programs rest."""
    tried: list[Measured] = []
    while len(tried) < TRIES and not any(each.others_cores < IDLE_CORES for each in tried):
        wait_for_idle(wait_seconds)
        tried.append(run(commands, root))
    return min(tried, key=lambda each: each.others_cores)


def run(commands: Sequence[Command], root: Path) -> Measured:
    """Start the processes at once; the sum of their tokens a second, each the median of its stretches."""
    started, busy, own = time.monotonic(), busy_seconds(), sum(os.times()[:4])
    results = say(commands, root)
    others = busy_seconds() - busy - (sum(os.times()[:4]) - own)
    return Measured(
        peer=results[0]["peer"],
        tokens_per_second=sum(each["tokens_per_second"] for each in results),
        others_cores=round(max(0.0, others) / (time.monotonic() - started), 2),
    )


def say(commands: Sequence[Command], root: Path, platform: str = "cpu") -> list[dict[str, Any]]:
    """Start the processes at once and read the line of JSON that each ends with. platform: what JAX computes on."""
    environment = _environment(Slot(environment=(("JAX_PLATFORMS", platform),)), Workspace(root=root))
    processes = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True, env=environment) for each in commands]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{commands[0]} ended with code {[process.returncode for process in processes]}")
    return [json.loads(each.splitlines()[-1]) for each in said]


def summary(found: Mapping[str, Sequence[Measured]], pairs: Sequence[tuple[str, str]], flops: float) -> dict[str, Any]:
    """Medians over the rounds and their ratios. flops: of a token."""
    rates = {way: [each.tokens_per_second for each in all_] for way, all_ in found.items()}
    median = {way: statistics.median(all_) for way, all_ in rates.items()}
    return {
        "median_tokens_per_second": median,
        "best_tokens_per_second": {way: max(all_) for way, all_ in rates.items()},
        "median_gflop_per_second": {way: rate * flops / 1e9 for way, rate in median.items()},
        "ratio_of_medians": {f"{a}/{b}": median[a] / median[b] for a, b in pairs if a in median and b in median},
        "most_disturbed_others_cores": max(each.others_cores for all_ in found.values() for each in all_),
        "rounds": {way: [asdict(each) for each in all_] for way, all_ in found.items()},
    }


def print_table(title: str, found: Mapping[str, Any]) -> None:
    """found: what `summary` returns."""
    print(f"\n{title}")
    print(f"{'':14}{'median tok/s':>14}{'best tok/s':>14}{'GFLOP/s':>10}")
    for way, rate in found["median_tokens_per_second"].items():
        best, speed = found["best_tokens_per_second"][way], found["median_gflop_per_second"][way]
        print(f"{way:14}{rate:14,.0f}{best:14,.0f}{speed:10.1f}")
    for pair, ratio in found["ratio_of_medians"].items():
        print(f"{pair:24} {ratio:.2f}x")
    print(f"other programs used at most {found['most_disturbed_others_cores']} cores during a measurement")
