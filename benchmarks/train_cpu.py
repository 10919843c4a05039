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
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from launch.devices import Slot
from launch.pool import _environment
from scaling.config import DataConfig, RunConfig, TransformerConfig
from scaling.counts import flops_per_token, params
from scaling.workspace import Workspace

HERE = Path(__file__).parent
SHAPES = {
    "d64": TransformerConfig(vocab=512, dim=64, layers=4, heads=4, context=128),
    "d256": TransformerConfig(vocab=2048, dim=256, layers=6, heads=8, context=128),
}
BATCH = 16
STEPS = {"d64": 40, "d256": 5}  # of one timed stretch: two to four seconds
STRETCHES = 3  # of each process
IDLE_CORES = 0.1  # used by other programs: less than that is an idle machine
TRIES = 3  # of a measurement, until one found the machine idle
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "wandb")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement, and how many cores other programs used meanwhile: it is worth little if they did."""

    tokens_per_second: float
    others_cores: float
    peer: str  # the library, with its version


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
    for shape, summary in result["shapes"].items():
        print_table(shape, summary)
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
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way, commands in ways.items():
            found[way].append(undisturbed(commands, options))
            print(f"{shape} round {number + 1}/{options.rounds}: {way} {found[way][-1]}", file=sys.stderr, flush=True)
    return found


def undisturbed(commands: Sequence[Sequence[str]], options: argparse.Namespace) -> Measured:
    """The least disturbed of up to TRIES measurements, each begun when other programs rest."""
    tried: list[Measured] = []
    while len(tried) < TRIES and not any(each.others_cores < IDLE_CORES for each in tried):
        wait_for_idle(options.wait_seconds)
        tried.append(run(commands, options.root))
    return min(tried, key=lambda each: each.others_cores)


def wait_for_idle(patience_seconds: float) -> None:
    """Return when other programs used next to nothing for two seconds, or when patience ends."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        before = busy_seconds()
        time.sleep(2)
        if (busy_seconds() - before) / 2 < IDLE_CORES:
            return


def run(commands: Sequence[Sequence[str]], root: Path) -> Measured:
    """Start the processes at once; the sum of their tokens a second, each the median of its stretches."""
    slot = Slot(environment=(("JAX_PLATFORMS", "cpu"),))
    started, busy, own = time.monotonic(), busy_seconds(), sum(os.times()[:4])
    processes = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True, env=_environment(slot, Workspace(root=root)))
        for each in commands
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{commands[0]} ended with code {[process.returncode for process in processes]}")
    others = busy_seconds() - busy - (sum(os.times()[:4]) - own)
    results = [json.loads(each) for each in said]
    return Measured(
        peer=results[0]["peer"],
        tokens_per_second=sum(each["tokens_per_second"] for each in results),
        others_cores=round(max(0.0, others) / (time.monotonic() - started), 2),
    )


def busy_seconds() -> float:
    """Processor seconds used by all programs since the machine started; 0 where the system does not say."""
    lines = _lines("/proc/stat")
    if not lines:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, lines[0].split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


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
    import jax

    from scaling.training.loop import warmed_step
    from scaling.training.step import Hyper, compiled_init

    model = SHAPES[shape]
    step = warmed_step(model, BATCH, "float32", 1, False)
    state = jax.block_until_ready(compiled_init(model)(0))
    batches = _batches(model, root)
    numbers = Hyper(lr=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0)
    seconds, pending = [], None
    for stretch in range(STRETCHES + 1):  # the first is for warming up
        started = time.perf_counter()
        for _ in range(STEPS[shape] if stretch else 3):
            state, metrics = step(state, next(batches), numbers)
            if pending is not None:
                float(pending.loss)
            pending = metrics
        jax.block_until_ready(state)
        if stretch:
            seconds.append((time.perf_counter() - started) / STEPS[shape])
    tokens = BATCH * model.context
    peer = f"jax {jax.__version__}"
    return {"peer": peer, "step_seconds": seconds, "tokens_per_second": tokens / statistics.median(seconds)}


def _batches(model: TransformerConfig, root: Path) -> Iterator[Any]:
    """Endless batches: the store's, made when asked for, or eight random ones in turn."""
    import numpy as np

    from scaling.data.batches import batch
    from scaling.data.prepare import prepare
    from scaling.training.step import Tokens, device_tokens

    if has_store(model, root):
        data = DataConfig(vocab=model.vocab)
        store = prepare(data, root)
        some_run = RunConfig(model=model, data=data, tokens=BATCH * model.context, batch=BATCH)
        for step in count():
            yield device_tokens(some_run, batch(store, seed=0, step=step, batch=BATCH, context=model.context))
    tokens_NBT = np.random.default_rng(0).integers(model.vocab, size=(8, BATCH, model.context + 1), dtype=np.int32)
    made = [Tokens(np.ascontiguousarray(t[:, :-1]), np.ascontiguousarray(t[:, 1:]), None) for t in tokens_NBT]
    for step in count():
        yield made[step % len(made)]


def has_store(model: TransformerConfig, root: Path) -> bool:
    from scaling.data.prepare import pinned

    return pinned(DataConfig(vocab=model.vocab), root) is not None


def _summary(shape: str, found: Mapping[str, Sequence[Measured]], root: Path) -> dict[str, Any]:
    model = SHAPES[shape]
    rates = {way: [each.tokens_per_second for each in all_] for way, all_ in found.items()}
    median = {way: statistics.median(all_) for way, all_ in rates.items()}
    pairs = (("ours", "torch"), ("ours_pool", "torch"), ("ours_pool", "ours"), ("torch_pool", "torch"))
    return {
        "model": asdict(model),
        "params": params(model).total,
        "batches": "store" if has_store(model, root) else "random",
        "median_tokens_per_second": median,
        "best_tokens_per_second": {way: max(all_) for way, all_ in rates.items()},
        "median_gflop_per_second": {way: rate * flops_per_token(model).exact / 1e9 for way, rate in median.items()},
        "ratio_of_medians": {f"{a}/{b}": median[a] / median[b] for a, b in pairs if b in median and a in median},
        "most_disturbed_others_cores": max(each.others_cores for all_ in found.values() for each in all_),
        "rounds": {way: [asdict(each) for each in all_] for way, all_ in found.items()},
    }


def print_table(shape: str, summary: Mapping[str, Any]) -> None:
    print(f"\n{shape}, {summary['params']:,} parameters, {summary['batches']} batches")
    print(f"{'':12}{'median tok/s':>14}{'best tok/s':>14}{'GFLOP/s':>10}")
    for way, rate in summary["median_tokens_per_second"].items():
        best, speed = summary["best_tokens_per_second"][way], summary["median_gflop_per_second"][way]
        print(f"{way:12}{rate:14,.0f}{best:14,.0f}{speed:10.1f}")
    for pair, ratio in summary["ratio_of_medians"].items():
        print(f"{pair:24} {ratio:.2f}x")
    print(f"other programs used at most {summary['most_disturbed_others_cores']} cores during a measurement")


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "load_before": os.getloadavg(),
    }


def command() -> str:
    """How this process was called, without the folders of this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def save(result: Mapping[str, Any], path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten: {path}")


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


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
