"""Kill, stop and wake launchers and workers at random over a plan, and see that it ends as if nothing had happened.

    python -m tests.chaos.kills --kills 200 --seed 0

It trains fifty tiny runs, ten trunks with four branches each, once in peace and
once under blows: SIGKILL, SIGTERM, and SIGSTOP with SIGCONT after seconds or,
sometimes, after the lease has expired; at a launcher, at a worker, or at both.
Often two launchers work at once. In the end every run must be finished, no
attempt may have begun after the one that finished it, and its record and curve
must be those of the undisturbed plan. Figures go to benchmarks/results/chaos.json.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.machine import machine
from scaling.attempts import attempts
from scaling.config import DataConfig, OptimConfig, RunConfig, Source, TransformerConfig, run_id
from scaling.data.prepare import prepare
from scaling.lease import EXPIRY_SECONDS
from scaling.plan import Study, pin
from scaling.record import RunDirectory, read_record
from scaling.sweeps import branches, chain

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks/results/chaos.json"
BLOWS = ("SIGKILL", "SIGTERM", "SIGSTOP", "long SIGSTOP")
LAUNCHERS = 2  # at most, at once
STEPS = (3000, 3750, 4500, 5250)  # of the branches
PAUSE_SECONDS = (1, 9)  # between two blows: a worker needs some to start, so most of them hit one that trains
SHORT_SECONDS = (0.3, 3)  # where the plan runs ahead of the blows, so that all are dealt before it ends


def plan(root: Path, texts: Path, trunks: int) -> Study:
    """Trunks with four branches each, all of one shape, some seconds a run, on prepared data."""
    data = DataConfig(source=Source(kind="folder", path=str(texts)), tokenizer="bytes", vocab=257, heldout_sequences=4)
    store = prepare(data, root, lambda line: None)
    model = TransformerConfig(vocab=257, dim=16, layers=1, heads=2, context=16)
    data = replace(data, max_epochs=1e6)
    sweeps = (
        branches(
            RunConfig(model=model, data=data, tokens=64, batch=4, seed=seed, optim=OptimConfig(lr=1e-2)),
            [steps * 64 for steps in STEPS],
        )
        for seed in range(trunks)
    )
    words = {"question": "?", "published": "", "shows": "", "cannot_show": "", "forecast_flops": 1.0}
    return pin(
        Study(name="chaos", cells=chain(*sweeps), **words),
        lambda data: replace(data, content=store.manifest.content),
    )


LAUNCH = """
import signal
import sys
from pathlib import Path
from rich.console import Console
from launch.devices import slots
from launch.local import launch
from launch.progress import Progress
from scaling.config import Placement
from scaling.workspace import Workspace
from tests.chaos.kills import plan
def end(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
root = Path(sys.argv[1])
placement = Placement(tracking="off", checkpoint_seconds=0.3)
study = plan(root, Path(sys.argv[2]), int(sys.argv[3]))
launch(study, Workspace(root=root), placement, slots(2), Progress(Console()))
"""


@dataclass
class Chaos:
    """What was done."""

    draw: random.Random
    done: Counter = field(default_factory=Counter)
    asleep: list[tuple[float, int]] = field(default_factory=list)  # when to wake whom

    def strike(self, launcher: subprocess.Popen) -> None:
        """One blow at a launcher, one of its workers, or both."""
        blow = self.draw.choices(BLOWS, weights=(8, 6, 5, 1))[0]
        whom = self.draw.choice(("launcher", "worker", "both"))
        workers = children(launcher.pid)
        targets = [launcher.pid] if whom != "worker" else []
        targets += [self.draw.choice(workers)] if workers and whom != "launcher" else []
        for target in targets:
            self._hit(target, blow)
        if targets:
            self.done[f"{blow} at {whom}"] += 1

    def _hit(self, target: int, blow: str) -> None:
        try:
            os.kill(target, getattr(signal, blow.removeprefix("long ")))
        except ProcessLookupError:
            return
        if blow == "SIGSTOP":
            self.asleep.append((time.monotonic() + self.draw.uniform(0.5, 5), target))
        elif blow == "long SIGSTOP":
            self.asleep.append((time.monotonic() + EXPIRY_SECONDS + 15, target))

    def wake(self, *, everyone: bool = False) -> None:
        now = time.monotonic()
        for due, target in list(self.asleep):
            if everyone or due < now:
                self.asleep.remove((due, target))
                try:
                    os.kill(target, signal.SIGCONT)
                except ProcessLookupError:
                    continue  # it was killed while it was stopped


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def start(root: Path, texts: Path, trunks: int) -> subprocess.Popen:
    with (root / "launches.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(root), str(texts), str(trunks)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def batter(root: Path, texts: Path, study: Study, trunks: int, kills: int, seed: int) -> tuple[Chaos, int]:
    """Launch again and again under blows, until all is settled; returns what was done and the number of launches."""
    chaos, launchers, launches = Chaos(random.Random(seed)), [], 0
    while (trained := settled(root, study)) < len(study.runs):
        launchers = [launcher for launcher in launchers if launcher.poll() is None]
        wanted = chaos.draw.choice((1, 1, LAUNCHERS)) if chaos.done.total() < kills else 1
        while len(launchers) < wanted:
            launchers.append(start(root, texts, trunks))
            launches += 1
        # Trunks take as long as all their branches: when half of the runs are trained, the plan soon ends.
        ahead = 2 * trained / len(study.runs) > chaos.done.total() / kills
        time.sleep(chaos.draw.uniform(*(SHORT_SECONDS if ahead else PAUSE_SECONDS)))
        chaos.wake()
        if chaos.done.total() < kills:
            chaos.strike(chaos.draw.choice(launchers))
    chaos.wake(everyone=True)
    for launcher in launchers:
        launcher.wait()
    return chaos, launches


def settled(root: Path, study: Study) -> int:
    """Runs that need no other launch; one whose worker was killed twice has failed, and does."""
    paths = [RunDirectory(root / "runs" / run_id(run)).record for run in study.runs]
    return sum(path.exists() and read_record(path).status != "failed" for path in paths)


def faults(quiet: Path, struck: Path, study: Study) -> list[str]:
    """What differs from the undisturbed plan, or was done twice."""
    found = []
    for run in study.runs:
        one, other = (RunDirectory(root / "runs" / run_id(run)) for root in (quiet, struck))
        found += [f"{run_id(run)}: {fault}" for fault in (*unlike(one, other), *repeated(other))]
    return found


def unlike(quiet: RunDirectory, struck: RunDirectory) -> list[str]:
    """Where record and curve differ, but for what was measured in time."""
    mine, theirs = read_record(quiet.record), read_record(struck.record)
    timed = ("cost", "provenance")
    found = [
        f"{name} is {getattr(theirs, name)}, undisturbed {getattr(mine, name)}"
        for name in (part.name for part in fields(mine) if part.name not in timed)
        if getattr(theirs, name) != getattr(mine, name)
    ]
    if mine.cost.started_from_tokens != theirs.cost.started_from_tokens:
        found.append(f"started from {theirs.cost.started_from_tokens}, undisturbed {mine.cost.started_from_tokens}")
    curves = [pq.read_table(directory.curve).drop_columns("step_seconds") for directory in (quiet, struck)]
    return found if curves[0].equals(curves[1]) else [*found, "another curve"]


def repeated(struck: RunDirectory) -> list[str]:
    """Attempts after the one that finished it; none has, where it was killed between its record and that note."""
    causes = [attempt.cause for attempt in attempts(struck)]
    return [f"trained again: {causes}"] if "finished" in causes[:-1] else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trunks", type=int, default=10, help="each with four branches")
    parser.add_argument("--root", type=Path, required=True, help="an empty folder")
    options = parser.parse_args()
    quiet, struck, texts = (options.root / name for name in ("quiet", "struck", "texts"))
    texts.mkdir(parents=True)
    draw = random.Random(0)
    for number in range(40):
        (texts / f"{number}.txt").write_text("".join(draw.choices("abcdefgh ", k=400)))
    study = plan(quiet, texts, options.trunks)
    shutil.copytree(quiet / "datasets", struck / "datasets")
    began = time.monotonic()
    if start(quiet, texts, options.trunks).wait():
        sys.exit((quiet / "launches.log").read_text())
    peace = time.monotonic() - began
    began = time.monotonic()
    chaos, launches = batter(struck, texts, study, options.trunks, options.kills, options.seed)
    took = time.monotonic() - began
    found = faults(quiet, struck, study)
    everything = [attempts(RunDirectory(struck / "runs" / run_id(run))) for run in study.runs]
    result = {
        "machine": machine(),
        "runs": len(study.runs),
        "seed": options.seed,
        "blows": dict(sorted(chaos.done.items())),
        "blows_in_all": chaos.done.total(),
        "launches": launches,
        "attempts": sum(map(len, everything)),
        "attempts_by_end": dict(sorted(Counter(one.cause or "killed" for run in everything for one in run).items())),
        "seconds_in_peace": round(peace),
        "seconds": round(took),
        "faults": found,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
