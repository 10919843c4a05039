"""Training speed of each family on CPU, side by side with transformers and PyTorch on the same shape.

    python -m benchmarks.families --torch-python PATH [--families gpt2 ...] [--out FILE]
    python -m benchmarks.families --device gpu

Every round measures our step and then the peer's (`transformers_peer.py`), each
in a fresh process on all cores, float32, without dropout. Start-up and compilation are not
timed. Tokens are tokens of text: what an objective makes of them has the same
lengths on both sides. Two differences remain. Ours cuts and corrupts a new
batch for every step, as in training; the peer cycles through eight batches
made beforehand. And of a masked model ours computes the logits of the masked
places alone, while BertForMaskedLM computes those of all positions.

Beside the speed stand the bytes that our compiled step asks for and what
`scaling.counts.training_memory` predicts.

With `--device gpu` ours is measured alone, in bfloat16 and a larger shape;
the compiled step must contain the flash attention of cuDNN.

This process imports no JAX. The measuring is done by the same file, started
with `--measure` or `--memory`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import command, machine, save
from benchmarks.rounds import interleaved, print_table, say, summary
from scaling.config import (
    DataConfig,
    Experts,
    Masked,
    NextToken,
    ObjectiveConfig,
    RecurrentConfig,
    RunConfig,
    SpanCorruption,
    TransformerConfig,
    lengths,
)
from scaling.counts import flops_per_token, params, training_memory
from scaling.interchange.theirs import ARCHITECTURES, misfits

HERE = Path(__file__).parent
BATCH = 16
STRETCHES = 3  # of each of the peer's processes
MEMORY_TARGET = 0.2  # the prediction's largest distance from what is allocated, as a share of it
FLASH = ("fmha", "flash")  # what a fused attention is called in a compiled step


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model, what it learns, and the peer of its shape."""

    model: TransformerConfig | RecurrentConfig
    objective: ObjectiveConfig = NextToken()
    peer: str  # model_type of transformers, or "lstm"
    target: float = 1.0  # our tokens/s over the peer's
    steps: int = 5  # of one timed stretch: two to four seconds


def families(vocab: int, dim: int, layers: int, heads: int, context: int) -> dict[str, Family]:
    """Every family in one size."""
    size = {"vocab": vocab, "dim": dim, "layers": layers, "heads": heads, "context": context}
    gpt = {"norm": "layernorm", "norm_eps": 1e-5, "positions": "learned", "biases": True, "init": "normal"}
    bert = {"norm_place": "post", "embedding_norm": True, "head_transform": True, "head_bias": True, "token_types": 2}
    t5 = {"positions": "t5", "attention_scale": 1.0, "init": "t5", "activation": "geglu", "tied": False}
    experts = Experts(experts=8, active=2, dim=dim * 4 // 3)
    return {
        "gpt2": Family(model=TransformerConfig(**size, **gpt, activation="gelu"), peer="gpt2"),
        "llama": Family(model=TransformerConfig(**size), peer="llama"),
        "bert": Family(
            model=TransformerConfig(**size, **gpt, **bert, architecture="encoder", activation="gelu_exact"),
            objective=Masked(),
            peer="bert",
        ),
        "t5": Family(
            model=TransformerConfig(**size, **t5, architecture="encoder_decoder"),
            objective=SpanCorruption(),
            peer="t5",
        ),
        "mixtral": Family(
            model=TransformerConfig(**size | {"layers": layers * 2 // 3}, tied=False, moe=experts),
            peer="mixtral",
        ),
        "lstm": lstm(vocab, dim, layers // 3, context, steps=15),
    }


def lstm(vocab: int, dim: int, layers: int, context: int, steps: int) -> Family:
    model = RecurrentConfig(vocab=vocab, dim=dim, layers=layers, context=context)
    return Family(model=model, peer="lstm", target=2.0, steps=steps)


SMALL_LSTMS = {  # as large as studies on a CPU train
    "lstm_128": lstm(vocab=512, dim=128, layers=2, context=128, steps=40),
    "lstm_64": lstm(vocab=512, dim=64, layers=2, context=128, steps=80),
}
SIZES = {
    "cpu": families(vocab=2048, dim=256, layers=6, heads=8, context=128) | SMALL_LSTMS,
    "gpu": families(vocab=32_768, dim=1024, layers=12, heads=16, context=1024),
}


def main() -> None:
    options = _options()
    if options.measure or options.memory:
        return print(json.dumps(_child(options)))
    found = {}
    for name in options.families or SIZES[options.device]:
        before = machine()
        family = on_gpu(name, options) if options.device == "gpu" else beside_the_peer(name, options)
        print_family(name, family)
        about = {"machine": before, "load_after": os.getloadavg(), "command": command(), "device": options.device}
        found[name] = {**about, "batch": BATCH, **family}
    save({"families": _kept(options.out) | found}, options.out)


def _kept(path: Path | None) -> dict[str, Any]:
    """The families that an earlier call wrote: each says itself what it was measured on."""
    return json.loads(path.read_text(encoding="utf-8"))["families"] if path and path.exists() else {}


def beside_the_peer(name: str, options: argparse.Namespace) -> dict[str, Any]:
    family = SIZES["cpu"][name]
    ways = {"ours": [_ours("--measure", name, options)]}
    if options.torch_python:
        ways["peer"] = [_theirs(family, options.torch_python, len(os.sched_getaffinity(0)))]
    found = interleaved(ways, title=name, rounds=options.rounds, root=options.root, wait_seconds=options.wait_seconds)
    speed = summary(found, [("ours", "peer")], flops_per_token(family.model, family.objective).exact)
    memory = say([_ours("--memory", name, options)], options.root)[0]
    return {**described(family), **speed, "memory": memory, "target_ratio": family.target}


def on_gpu(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Ours alone, at the larger size."""
    family = SIZES["gpu"][name]
    measured = say([_ours("--measure", name, options)], options.root, "cuda")[0]
    memory = say([_ours("--memory", name, options)], options.root, "cuda")[0]
    if isinstance(family.model, TransformerConfig) and not memory["flash"]:
        raise RuntimeError(f"{name}: no flash attention in the compiled step; see attention._implementation")
    flops = measured["tokens_per_second"] * flops_per_token(family.model, family.objective).exact
    return {**described(family), **measured, "tflop_per_second": flops / 1e12, "memory": memory}


def described(family: Family) -> dict[str, Any]:
    found = lengths(family.model, family.objective)
    model = family.model
    return {
        "model": asdict(model),
        "objective": asdict(family.objective),
        "lengths": asdict(found),
        "params": params(model).total,
    }


def print_family(name: str, found: Mapping[str, Any]) -> None:
    if "rounds" in found:
        print_table(f"{name}, {found['params']:,} parameters, target {found['target_ratio']}", found)
    else:
        print(f"\n{name}: {found['tokens_per_second']:,.0f} tokens/s, {found['tflop_per_second']:.1f} TFLOP/s")
    memory = found["memory"]
    print(
        f"memory: {memory['peak_bytes'] / 1e6:,.0f} MB asked for, {memory['predicted_bytes'] / 1e6:,.0f} predicted, "
        f"ratio {memory['predicted_over_peak']:.2f} (target 1 +- {MEMORY_TARGET})",
        flush=True,
    )


def run_of(name: str, device: str) -> RunConfig:
    family = SIZES[device][name]
    found = lengths(family.model, family.objective)
    return RunConfig(
        model=family.model,
        objective=family.objective,
        data=DataConfig(vocab=family.model.vocab - found.specials, specials=found.specials),
        tokens=BATCH * found.text,
        batch=BATCH,
        precision="float32" if device == "cpu" else "bfloat16",
    )


def theirs(family: Family) -> dict[str, Any]:
    """What the peer is built from: the config.json of our model, or the arguments of its own LSTM.

    Raises ValueError where transformers cannot express our model.
    """
    model = family.model
    if isinstance(model, RecurrentConfig):
        return {"model_type": family.peer, "vocab": model.vocab, "dim": model.dim, "layers": model.layers}
    architecture = ARCHITECTURES[family.peer]
    if lost := misfits(model, architecture).said:
        raise ValueError(f"{family.peer} is not of our shape: {'; '.join(lost)}")
    # Of the ways that transformers has, these were measured to be its fastest.
    fastest = {"attn_implementation": "sdpa"} | ({"experts_implementation": "eager"} if model.moe else {})
    return {"model_type": family.peer, **architecture.write(model), **fastest}


def _child(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.our_step import compiled, peak_bytes, random_store, timed

    name = options.measure or options.memory
    family, run = SIZES[options.device][name], run_of(name, options.device)
    store = random_store(run.data.vocab)
    if options.measure:
        return timed(run, store, family.steps)
    executable = compiled(run, store)
    text, peak = executable.as_text(), peak_bytes(executable)
    predicted = training_memory(run.model, run.objective, sequences=BATCH, precision=run.precision).total
    return {
        "peak_bytes": peak,
        "predicted_bytes": predicted,
        "predicted_over_peak": predicted / peak,
        "flash": any(word in text for word in FLASH),
    }


def _ours(what: str, name: str, options: argparse.Namespace) -> list[str]:
    return [sys.executable, "-m", "benchmarks.families", what, name, "--device", options.device]


def _theirs(family: Family, interpreter: str, threads: int) -> list[str]:
    found = lengths(family.model, family.objective)
    numbers = {"batch": BATCH, "threads": threads, "steps": family.steps, "repeats": STRETCHES}
    numbers |= {name: getattr(found, name) for name in ("text", "positions", "source", "predicted")}
    given = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    return [interpreter, str(HERE / "transformers_peer.py"), "--config", json.dumps(theirs(family)), *given]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--torch-python", help="interpreter with torch and transformers; without it ours is measured alone"
    )
    parser.add_argument("--families", nargs="+", choices=SIZES["cpu"], help="default: all of the device")
    parser.add_argument("--device", choices=SIZES, default="cpu")
    parser.add_argument("--root", type=Path, default=Path("."), help="folder with the cache of compiled programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wait-seconds", type=float, default=60.0, help="at most, for an idle machine, a measurement")
    parser.add_argument("--out", type=Path, help="file for the result, JSON; other families in it are kept")
    parser.add_argument("--measure", choices=SIZES["cpu"], help=argparse.SUPPRESS)
    parser.add_argument("--memory", choices=SIZES["cpu"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if absent := sorted(set(options.families or ()) - SIZES[options.device].keys()):
        parser.error(
            f"--families {absent}: not measured on {options.device}, which has {', '.join(SIZES[options.device])}"
        )
    return options


if __name__ == "__main__":
    main()
