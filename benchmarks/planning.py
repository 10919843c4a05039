"""How long the laboratory takes to plan, to look on, and to answer.

    python -m benchmarks.planning [--runs 10000] [--repeats 5] [--out FILE]

Plans a study of trunks and cooldown branches (build, price, JSON), writes a
record for each of its runs into a temporary folder, and asks for the state of
all. Each repeat is a fresh process, for run ids are remembered within one.
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
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks.machine import command, machine, save
from launch.overview import overview
from launch.planned import study_plan
from launch.show_plan import to_json
from launch.status import states
from scaling.config import DataConfig, Placement, RunConfig, TransformerConfig, run_id
from scaling.hardware import HARDWARE
from scaling.outcome import record_of
from scaling.plan import Study, price
from scaling.plan_file import write_plan
from scaling.provenance import provenance
from scaling.record import Heldout, RunDirectory, Tokens, write_config, write_record
from scaling.sizes import models
from scaling.sweeps import branches, chain
from scaling.workspace import Workspace

HORIZONS = 9  # of each trunk: ten runs together
SIZES = 10
TARGETS = {"plan_total": 5.0, "status_read": 3.0, "help": 1.0}  # seconds


def main() -> None:
    options = _options()
    if options.measure:
        return print(json.dumps({"plan": plan, "status": status}[options.measure](options)))
    before = machine()
    runs = Path(tempfile.mkdtemp(prefix="planning-"))
    try:
        written = write_records(study_of(options.runs), Workspace(root=runs))
        found = repeat(options, runs)
    finally:
        shutil.rmtree(runs)
    seconds = {name: {"median": statistics.median(all_), "best": min(all_)} for name, all_ in found.items()}
    result = {"machine": before, "load_after": os.getloadavg(), "command": command(), "runs": options.runs}
    for name, took in seconds.items():
        target = f"   target {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:16} median {took['median']:7.2f} s   best {took['best']:7.2f} s{target}")
    save({**result, "records_written_seconds": written, "seconds": seconds, "targets": TARGETS}, options.out)


def repeat(options: argparse.Namespace, runs: Path) -> dict[str, list[float]]:
    """Seconds of every part, one a repeat."""
    found: dict[str, list[float]] = {}
    this = [sys.executable, "-m", "benchmarks.planning", "--runs", str(options.runs), "--root", str(runs)]
    for _ in range(options.repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "launch.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
        took = {"help": time.perf_counter() - started}
        for part in ("plan", "status"):
            said = subprocess.run([*this, "--measure", part], check=True, stdout=subprocess.PIPE, text=True)
            took |= json.loads(said.stdout)
        for name, seconds in took.items():
            found.setdefault(name, []).append(seconds)
    return found


def study_of(runs: int) -> Study:
    """Trunks of ten sizes on as many seeds as it takes, each with nine branches."""
    data = DataConfig(content="0" * 64)  # as if prepared: nothing is read

    def run_of(model: TransformerConfig, seed: int) -> RunConfig:
        return RunConfig(model=model, data=data, tokens=16 * model.context, batch=16, seed=seed)

    step = 16 * 128
    horizons = [step * 100 * 2**k for k in range(HORIZONS)]
    per_trunk = HORIZONS + 1
    if runs % (SIZES * per_trunk):
        raise ValueError(f"--runs {runs}: must be a multiple of {SIZES * per_trunk}")
    ladder = models("tiny", data.vocab, 128)[:SIZES]
    seeds = range(runs // (SIZES * per_trunk))
    cells = chain(*(branches(run_of(model, seed), horizons) for model in ladder for seed in seeds))
    assert len(cells) == runs
    words = dict.fromkeys(("question", "published", "shows", "cannot_show"), "How long does it take?")
    return Study(name="planning", forecast_flops=1e15, cells=cells, **words)


def plan(options: argparse.Namespace) -> dict[str, float]:
    """Seconds to build the study, to price it, and to write it as JSON."""
    marks = [time.perf_counter()]
    study = study_of(options.runs)
    marks.append(time.perf_counter())
    priced = price(study, HARDWARE["cpu-core"])
    marks.append(time.perf_counter())
    json.dumps(to_json(priced))
    marks.append(time.perf_counter())
    parts = dict(zip(("plan_build", "plan_price", "plan_json"), _steps(marks), strict=True))
    return parts | {"plan_total": marks[-1] - marks[0]}


def status(options: argparse.Namespace) -> dict[str, float]:
    """Seconds to read the plan, the state of every run, and what all of them took."""
    workspace = Workspace(root=options.root)
    (path,) = workspace.studies.glob("*.json")
    started = time.perf_counter()
    plan = study_plan(path)
    found = states(plan, workspace)
    overview(plan, found)
    assert {state.state for state in found} == {"finished"}
    return {"status_read": time.perf_counter() - started}


def write_records(study: Study, workspace: Workspace) -> float:
    """A finished record for each run of the study; returns the seconds it took."""
    started = time.perf_counter()
    write_plan(study, workspace)
    made_with = provenance("cpu", 1)
    for run in study.runs:
        directory = RunDirectory(workspace.runs / run_id(run))
        write_config(directory, run)
        record = record_of(
            run,
            Placement(),
            status="finished",
            message="",
            heldout=Heldout(
                loss=2.5, loss_se=0.01, bits_per_byte=1.5, bits_per_byte_se=0.01, sequences=256, tokens=256 * 128
            ),
            curve=None,
            tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=0.5),
            started_from_tokens=run.trunk.tokens if run.trunk else 0,
            device_seconds=60.0,
            wall_seconds=70.0,
            attempts=1,
            made_with=made_with,
        )
        write_record(directory, replace(record, train_loss=2.4))
    return time.perf_counter() - started


def _steps(marks: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(marks)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    parser.add_argument("--measure", choices=("plan", "status"), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
