"""How often `--stop-bad` is right: forecasts of runs whose end is known, from the others of their search.

    python -m benchmarks.outlook ROOT [ROOT ...] [--confidences 0.8 0.9 0.95 0.99] [--out FILE]

Takes the finished runs below each root that differ in the optimizer's settings alone,
of at least five learning rates. Each run is judged at the launcher's looks as if the
others had ended: all of them, and two draws of every smaller number from four on. Every
run and look counts once, whatever the number of draws. Nothing is trained.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.machine import command, machine, save
from launch.bad_runs import LOOKS, finished_curve
from launch.end_in_sight import Ended, outlook
from scaling.config import NgramConfig, OptimConfig
from scaling.record import RunDirectory, RunRecord, read_records

LEAST_RATES, LEAST_ENDED, DRAWS = 5, 4, 2
BAD = 1.05  # times the best loss of the others: such runs are worth stopping


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One forecast, and what came true of it."""

    weight: float
    holds: bool  # it ended above the bound
    excess: float  # nats by which the bound was too high
    is_lowest: bool  # its rate is below all that ended
    stops: bool
    is_bad: bool
    wins: bool  # it ended below all of the others


def main() -> None:
    options = _options()
    searches = [search for root in options.roots for search in searches_of(root / "runs")]
    found = {}
    for confidence in options.confidences:
        every = [one for search in searches for one in judged(search, confidence)]
        found[str(confidence)] = summary(every)
        print(confidence, found[str(confidence)])
    said = {
        "machine": machine(),
        "load_after": os.getloadavg(),
        "command": command(),
        "searches": [
            {"rates": sorted(run.curve.lr for run, _ in search), "steps": search[0][1].config.steps}
            for search in searches
        ],
    }
    save({**said, "looks": LOOKS, "by_confidence": found}, options.out)


def searches_of(runs: Path) -> Iterator[list[tuple[Ended, RunRecord]]]:
    """Groups of finished runs with curves, of enough rates."""
    groups: dict[Any, list[tuple[Ended, RunRecord]]] = defaultdict(list)
    for record in read_records(runs):
        if not isinstance(record, RunRecord) or record.heldout is None or record.config.trunk is not None:
            continue
        directory = RunDirectory(runs / record.run_id)
        if isinstance(record.config.model, NgramConfig) or not directory.curve.exists():
            continue
        alike = OptimConfig(label_smoothing=record.config.optim.label_smoothing)
        curve = finished_curve(directory, record.config)
        ended = Ended(curve=curve, loss=record.heldout.loss, loss_se=record.heldout.loss_se)
        groups[replace(record.config, optim=alike)].append((ended, record))
    for group in groups.values():
        if len({run.curve.lr for run, _ in group}) >= LEAST_RATES:
            yield group


def judged(search: list[tuple[Ended, RunRecord]], confidence: float) -> Iterator[Judged]:
    draw, level = Random(0), 1 - (1 - confidence) / len(LOOKS)
    for run, record in search:
        others = [other for other, _ in search if other.curve.lr != run.curve.lr]
        fewer = [draw.sample(others, count) for count in range(LEAST_ENDED, len(others)) for _ in range(DRAWS)]
        for ended in (others, *fewer):
            best = min(ended, key=lambda other: other.loss)
            for share in LOOKS:
                ahead = outlook(run.curve, ended, share=share, tokens=record.config.tokens, confidence=level)
                if ahead is not None:
                    yield Judged(
                        weight=1 / (1 + len(fewer)),
                        holds=run.loss >= ahead.low,
                        excess=max(0.0, ahead.low - run.loss),
                        is_lowest=run.curve.lr < min(other.curve.lr for other in ended),
                        stops=ahead.low > best.loss + 2 * best.loss_se,
                        is_bad=run.loss > BAD * best.loss,
                        wins=run.loss <= best.loss,
                    )


def summary(every: Sequence[Judged]) -> dict[str, float]:
    def weight(*names: str) -> float:
        return sum(one.weight for one in every if all(getattr(one, name) for name in names))

    return {
        "forecasts": weight(),
        "bound_holds": weight("holds") / weight(),
        "bound_holds_below_all_rates": weight("holds", "is_lowest") / weight("is_lowest"),
        "largest_excess_nats": max(one.excess for one in every),
        "bad_runs_stopped": weight("is_bad", "stops") / weight("is_bad"),
        "stopped_that_won": weight("stops", "wins"),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("roots", type=Path, nargs="+", help="folders that hold runs/")
    parser.add_argument("--confidences", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.99])
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
