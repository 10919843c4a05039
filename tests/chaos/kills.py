"""Kill, stop and wake launchers and workers at random over a plan, and see that it ends as if nothing had happened.

    python -m tests.chaos.kills --kills 200 --seed 0

It trains fifty tiny runs, ten trunks with four branches each, once in peace and
once under blows: SIGKILL, SIGTERM, and SIGSTOP with SIGCONT after seconds or,
sometimes, after the lease has expired; at a launcher, at a worker, or at both.
Now and then two launchers work at once. In the end every run must be finished,
exactly one of its attempts must have finished it, and its record and curve
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
from dataclasses import dataclass, field, replace
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


def plan(root: Path, texts: Path) -> Study:
    """Fifty runs of one shape, some seconds each, on prepared data."""
    data = DataConfig(source=Source(kind="folder", path=str(texts)), tokenizer="bytes", vocab=257, heldout_sequences=4)
    store = prepare(data, root, lambda line: None)
    model = TransformerConfig(vocab=257, dim=16, layers=1, heads=2, context=16)
    data = replace(data, max_epochs=1e6)
    sweeps = (
        branches(
            RunConfig(model=model, data=data, tokens=64, batch=4, seed=seed, optim=OptimConfig(lr=1e-2)),
            [steps * 64 for steps in (800, 1000, 1200, 1400)],
        )
        for seed in range(10)
    )
    words = {"question": "?", "published": "", "shows": "", "cannot_show": "", "forecast_flops": 1.0}
    return pin(
        Study(name="chaos", cells=chain(*sweeps), **words),
        lambda data: replace(data, content=store.manifest.content),
    )


LAUNCH = """
import sys
from pathlib import Path
from rich.console import Console
from launch.devices import slots
from launch.local import launch
from launch.progress import Progress
from launch.worker import RESUME_ME
from scaling.config import Placement
from scaling.workspace import Workspace
from tests.chaos.kills import plan
import signal
def end(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
root = Path(sys.argv[1])
placement = Placement(tracking="off", checkpoint_seconds=0.3)
launch(plan(root, Path(sys.argv[2])), Workspace(root=root), placement, slots(2), Progress(Console()))
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


def start(root: Path, texts: Path) -> subprocess.Popen:
    log = (root / "launches.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(root), str(texts)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
    )
    log.close()
    return process


def batter(root: Path, texts: Path, kills: int, seed: int) -> tuple[Chaos, int]:
    """Launch again and again under blows, until all is settled; returns what was done and the number of launches."""
    chaos, launchers, launches = Chaos(random.Random(seed)), [], 0
    study = plan(root, texts)
    while not settled(root, study):
        launchers = [launcher for launcher in launchers if launcher.poll() is None]
        wanted = chaos.draw.choice((1, 1, LAUNCHERS)) if len(launchers) == 0 else len(launchers)
        while len(launchers) < wanted:
            launchers.append(start(root, texts))
            launches += 1
        time.sleep(chaos.draw.uniform(1, 9))
        chaos.wake()
        if chaos.done.total() < kills:
            chaos.strike(chaos.draw.choice(launchers))
    chaos.wake(everyone=True)
    for launcher in launchers:
        launcher.wait()
    return chaos, launches


def settled(root: Path, study: Study) -> bool:
    return all(RunDirectory(root / "runs" / run_id(run)).record.exists() for run in study.runs)


def faults(quiet: Path, struck: Path, study: Study) -> list[str]:
    """What differs from the undisturbed plan, or was done twice."""
    found = []
    for run in study.runs:
        one, other = (RunDirectory(root / "runs" / run_id(run)) for root in (quiet, struck))
        mine, theirs = read_record(one.record), read_record(other.record)
        for name in ("status", "heldout", "train_loss", "flops", "params"):
            if getattr(mine, name) != getattr(theirs, name):
                found.append(f"{run_id(run)}: {name} is {getattr(theirs, name)}, undisturbed {getattr(mine, name)}")
        curves = [pq.read_table(directory.curve).column("loss") for directory in (one, other)]
        if not curves[0].equals(curves[1]):
            found.append(f"{run_id(run)}: another curve")
        ends = [attempt.cause for attempt in attempts(other)]
        if ends.count("finished") > 1:  # none, where it was killed between its record and that note
            found.append(f"{run_id(run)}: finished {ends.count('finished')} times")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, required=True, help="an empty folder")
    options = parser.parse_args()
    quiet, struck, texts = (options.root / name for name in ("quiet", "struck", "texts"))
    texts.mkdir(parents=True)
    draw = random.Random(0)
    for number in range(40):
        (texts / f"{number}.txt").write_text("".join(draw.choices("abcdefgh ", k=400)))
    study = plan(quiet, texts)
    shutil.copytree(quiet / "datasets", struck / "datasets")
    began = time.monotonic()
    if start(quiet, texts).wait():
        sys.exit((quiet / "launches.log").read_text())
    peace = time.monotonic() - began
    began = time.monotonic()
    chaos, launches = batter(struck, texts, options.kills, options.seed)
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
        "seconds_in_peace": round(peace),
        "seconds": round(took),
        "faults": found,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
