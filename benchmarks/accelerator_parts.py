"""The measuring process of `accelerator.py`: one model's training step, or many models' at once.

Letters: B sequences, M tokens of a batch, K models, V vocabulary.
"""

import json
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator_kernels import parts_alone, traced
from scaling.config import NextToken, TransformerConfig
from scaling.counts import flops_per_token, params
from scaling.hardware import hardware_of
from scaling.models.published import published
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.many import compiled_many, compiled_many_init
from scaling.training.step import Hyper, compiled_init, compiled_step

PRECISION = "bfloat16"
NUMBERS = Hyper(lr=3e-4, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)
STRETCHES = 3
STRETCH_SECONDS = 3.0
TINY_STRETCH_SECONDS = 0.1
MODELS = 16  # K


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and how many sequences one step reads."""

    model: TransformerConfig
    batch: int


# 50,304 is GPT-2's vocabulary up to a multiple of 128. LLaMA-style: the shape of TinyLlama (Zhang et al. 2024,
# arXiv:2401.02385) with 16 heads of 128 for its 32 of 64.
CASES = {
    "gpt2-124m": Case(model=replace(published("gpt-2"), vocab=50_304), batch=32),
    "gpt2-350m": Case(model=replace(published("gpt-2-medium"), vocab=50_304), batch=32),
    "llama-1b": Case(
        model=TransformerConfig(
            vocab=32_000, dim=2048, layers=22, heads=16, kv_heads=4, mlp_dim=5632, context=2048, tied=False
        ),
        batch=16,
    ),
    "many": Case(model=TransformerConfig(vocab=2048, dim=128, layers=4, heads=4, context=256), batch=8),
}
TINY = {"vocab": 300, "dim": 32, "layers": 2, "heads": 2, "mlp_dim": 64, "context": 32}


def measure(part: str) -> None:
    """Print what is found as lines of JSON, each with all before it."""
    found = about_the_device()
    case = case_of(part)
    for more in many_models(case) if part == "many" else one_model(case):
        found |= more
        print(json.dumps(found), flush=True)


def case_of(part: str) -> Case:
    """The part's shape; on CPU a tiny one of the same kind."""
    case = CASES[part]
    if jax.default_backend() != "cpu":
        return case
    return Case(model=replace(case.model, **TINY, kv_heads=1 if case.model.kv_heads else None), batch=2)


def about_the_device() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "tiny": jax.default_backend() == "cpu",
        "memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
    }


def one_model(case: Case) -> Iterator[dict[str, Any]]:
    """Found bit by bit: the step, its parts compiled alone, a trace. A batch that does not fit is halved."""
    while True:
        try:
            found, advance = training(case)
            break
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or case.batch == 1:
                raise
            case = replace(case, batch=case.batch // 2)
    yield found
    wanted = (TINY_STRETCH_SECONDS if jax.default_backend() == "cpu" else STRETCH_SECONDS) / 6
    timed = partial(seconds_a_call, wanted=wanted)
    yield {"parts_alone": parts_alone(case.model, case.batch, PRECISION, found["step_seconds"], _peak_flops(), timed)}
    yield {"kernels": traced(advance, found["step_seconds"])}


def training(case: Case) -> tuple[dict[str, Any], Callable[[int], None]]:
    """Speed and memory of the compiled step, and a function that trains so many steps more."""
    task, tokens = Task(case.model, NextToken(), 0, False), tokens_of(case)
    state = jax.block_until_ready(compiled_init(task)(0))
    started = time.perf_counter()
    step = compiled_step(task, PRECISION).lower(state, tokens, Knowledge(), NUMBERS).compile()
    compile_seconds, metrics = time.perf_counter() - started, None

    def advance(steps: int) -> None:
        nonlocal state, metrics
        for _ in range(steps):
            state, metrics = step(state, tokens, Knowledge(), NUMBERS)
        jax.block_until_ready(state)

    seconds = seconds_a_call(advance)
    return speed_of(case, seconds) | {
        "compile_seconds": compile_seconds,
        "loss": float(metrics.loss),
        **about_the_program(step, case),
        "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    }, advance


def speed_of(case: Case, seconds: list[float]) -> dict[str, Any]:
    """Medians over the stretches. seconds: a step, of each stretch."""
    step_seconds, tokens = statistics.median(seconds), case.batch * case.model.context
    rate, peak = tokens / step_seconds, _peak_flops()
    exact, seen = (flops_per_token(case.model, causal=causal).exact for causal in ("full", "half"))
    return {
        "params": params(case.model).total,
        "batch": case.batch,
        "context": case.model.context,
        "precision": PRECISION,
        "step_seconds": step_seconds,
        "step_seconds_of_stretches": seconds,
        "tokens_per_second": rate,
        "flop_per_second": rate * exact,
        "mfu": rate * exact / peak if peak else None,
        "mfu_of_seen_keys": rate * seen / peak if peak else None,
    }


def about_the_program(step: Any, case: Case) -> dict[str, Any]:
    """What the compiled step is made of."""
    text, memory = step.as_text(), step.memory_analysis()
    tokens, vocab = case.batch * case.model.context, case.model.vocab
    shapes = {tuple(map(int, shape.split(","))) for shape in re.findall(r"f32\[(\d+(?:,\d+)+)\]", text)}
    return {
        "fused_attention": "fmha" in text or "flash" in text,
        "all_logits_in_float32": any(vocab in shape and math.prod(shape) >= tokens * vocab for shape in shapes),
        "temporary_bytes": memory.temp_size_in_bytes,
        "donated_bytes": memory.alias_size_in_bytes,
    }


def many_models(case: Case) -> Iterator[dict[str, Any]]:
    """K models at once by `vmap`, and the same K one after another, a compiled step each.

    Batches and numbers lie on the device beforehand, for both: a single step
    is short, and is not to be charged for what the host does.
    """
    task, models = Task(case.model, NextToken(), 0, False), 3 if jax.default_backend() == "cpu" else MODELS
    batches = [jax.device_put(tokens_of(case, seed)) for seed in range(models)]
    numbers = [jax.tree.map(jnp.float32, NUMBERS._replace(lr=3e-4 * (1 + seed))) for seed in range(models)]
    one = compiled_step(task, PRECISION)
    states = [compiled_init(task)(seed) for seed in range(models)]

    def in_turn(times: int) -> None:
        for _ in range(times):
            for index in range(models):
                states[index], _ = one(states[index], batches[index], Knowledge(), numbers[index])
        jax.block_until_ready(states)

    alone = seconds_a_call(in_turn)
    yield {"models": models, "one_after_another": speed_of(replace(case, batch=models * case.batch), alone)}
    all_at_once = compiled_many(task, PRECISION)
    state_K = compiled_many_init(task)(jnp.arange(models))
    tokens_K, numbers_K = (jax.tree.map(lambda *of: jnp.stack(of), *each) for each in (batches, numbers))

    def together(times: int) -> None:
        nonlocal state_K
        for _ in range(times):
            state_K, _ = all_at_once(state_K, tokens_K, Knowledge(), numbers_K)
        jax.block_until_ready(state_K)

    seconds = seconds_a_call(together)
    yield {
        "together": speed_of(replace(case, batch=models * case.batch), seconds),
        "steps_of_a_model_per_second": models / statistics.median(seconds),
        "faster": statistics.median(alone) / statistics.median(seconds),
    }


def tokens_of(case: Case, seed: int = 0) -> Tokens:
    """One batch of random tokens."""
    shape = (case.batch, case.model.context + 1)
    draw = np.random.default_rng(seed)
    windows = draw.integers(case.model.vocab, size=shape, dtype=np.int32)
    return Tokens(windows, draw.integers(1 << 32, size=(case.batch, 2), dtype=np.uint32))


def seconds_a_call(advance: Callable[[int], None], wanted: float | None = None) -> list[float]:
    """Of each stretch. advance(n) does the work n times and waits for its end. wanted: seconds of a stretch."""
    if wanted is None:
        wanted = TINY_STRETCH_SECONDS if jax.default_backend() == "cpu" else STRETCH_SECONDS
    advance(2)  # compiles, and warms up
    started = time.perf_counter()
    advance(2)
    times = min(1000, max(2, round(wanted * 2 / (time.perf_counter() - started))))
    found = []
    for _ in range(STRETCHES):
        started = time.perf_counter()
        advance(times)
        found.append((time.perf_counter() - started) / times)
    return found


def _peak_flops() -> float | None:
    hardware = hardware_of(jax.devices()[0].device_kind)
    return None if hardware is None else hardware.peak_flops(PRECISION)
