"""Training speed on CPU, side by side with an eager PyTorch loop, and the pool's throughput.

    python -m benchmarks.train_cpu --torch-python PATH [--root .] [--out FILE]

Every round measures, one after the other: our step in one process on all
cores; PyTorch likewise; the pool, one pinned process of ours a core, all at
once; and as many PyTorch processes of one thread. Each is a fresh process with
the environment of the pool's workers. Start-up and compilation are not timed.
Ours takes real batches from the store below `root` where one of that
vocabulary is prepared, cut anew for every step as in training; PyTorch cycles
through eight random batches made beforehand.

On a machine that is not idle a spinning thread pool collapses, PyTorch's
first. So each measurement waits for other programs to rest, is repeated if they
did not, and carries how many cores they used.

This process imports no JAX. The measuring is done by the same file, started
with `--measure`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import command, machine, save
from benchmarks.rounds import Measured, interleaved, print_table, summary
from scaling.config import DataConfig, RunConfig, TransformerConfig
from scaling.counts import flops_per_token, params

HERE = Path(__file__).parent
SHAPES = {
    "d64": TransformerConfig(vocab=512, dim=64, layers=4, heads=4, context=128),
    "d256": TransformerConfig(vocab=2048, dim=256, layers=6, heads=8, context=128),
}
BATCH = 16
STEPS = {"d64": 40, "d256": 5}  # of one timed stretch: two to four seconds
STRETCHES = 3  # of each process


def main() -> None:
    options = _options()
    if options.measure:
        return print(json.dumps(measure(options.measure, options.root, options.core)))
    before = machine()
    found = {shape: compare(shape, options) for shape in options.shapes}
    result = {
        "machine": before,
        "load_after": os.getloadavg(),
        "command": command(),
        "batch": BATCH,
        "shapes": {shape: _summary(shape, rounds, options.root) for shape, rounds in found.items()},
    }
    for shape, found in result["shapes"].items():
        print_table(f"{shape}, {found['params']:,} parameters, {found['batches']} batches", found)
    save(result, options.out)


def compare(shape: str, options: argparse.Namespace) -> dict[str, list[Measured]]:
    """Every way to train one shape, interleaved over the rounds."""
    cores = sorted(os.sched_getaffinity(0))
    ways = {"ours": [_ours(shape, options.root)]}
    if options.torch_python:
        ways["torch"] = [_torch(shape, options.torch_python, len(cores))]
    ways["ours_pool"] = [_ours(shape, options.root, core) for core in cores]
    if options.torch_python:
        alone = _torch(shape, options.torch_python, 1)
        ways["torch_pool"] = [["taskset", "-c", str(core), *alone] for core in cores]
    return interleaved(ways, title=shape, rounds=options.rounds, root=options.root, wait_seconds=options.wait_seconds)


def _ours(shape: str, root: Path, core: int | None = None) -> list[str]:
    pinned = [] if core is None else ["--core", str(core)]
    return [sys.executable, "-m", "benchmarks.train_cpu", "--measure", shape, "--root", str(root), *pinned]


def _torch(shape: str, interpreter: str, threads: int) -> list[str]:
    model = SHAPES[shape]
    numbers = {name: getattr(model, name) for name in ("dim", "layers", "heads", "vocab", "context")}
    numbers |= {"batch": BATCH, "threads": threads, "steps": STEPS[shape], "repeats": STRETCHES}
    given = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    return [interpreter, str(HERE / "torch_peer.py"), *given]


def measure(shape: str, root: Path, core: int | None) -> dict[str, Any]:
    """Tokens a second of our training step in this process, the metrics read one step late."""
    if core is not None:
        os.sched_setaffinity(0, {core})  # before JAX counts the cores for its threads
    from benchmarks.our_step import store_of, timed

    run = run_of(shape)
    return timed(run, store_of(run, root), STEPS[shape])


def run_of(shape: str) -> RunConfig:
    model = SHAPES[shape]
    return RunConfig(model=model, data=DataConfig(vocab=model.vocab), tokens=BATCH * model.context, batch=BATCH)


def has_store(shape: str, root: Path) -> bool:
    from scaling.data.prepare import pinned

    return pinned(run_of(shape).data, root) is not None


def _summary(shape: str, found: Mapping[str, Sequence[Measured]], root: Path) -> dict[str, Any]:
    model = SHAPES[shape]
    pairs = (("ours", "torch"), ("ours_pool", "torch"), ("ours_pool", "ours"), ("torch_pool", "torch"))
    return {
        "model": asdict(model),
        "params": params(model).total,
        "batches": "store" if has_store(shape, root) else "random",
        **summary(found, pairs, flops_per_token(model).exact),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="interpreter that has torch==2.13.0; without it only ours is measured")
    parser.add_argument("--root", type=Path, default=Path("."), help="folder with datasets/, if data are prepared")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wait-seconds", type=float, default=60.0, help="at most, for an idle machine, a measurement")
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    parser.add_argument("--measure", choices=SHAPES, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
