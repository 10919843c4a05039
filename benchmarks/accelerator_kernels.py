"""Where the time of a training step goes: parts of it compiled alone, and the kernels of a trace.

Parts compiled alone work on every platform, but miss what the compiler gains
by fusing them with their surroundings; what they leave of the step is called
`rest`: norms, activations, rotations, residual sums, embeddings, copies and
launches. A trace tells what really ran, where the device's profiler works.

Letters: B sequences, T positions, N query heads, K key heads, H head size, M = B T tokens, D width, V vocabulary,
I and O the sides of a matrix.
"""

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from scaling.config import NextToken, TransformerConfig
from scaling.models.attention import attend
from scaling.models.head import chunked_losses, chunks_of, token_losses, unembed
from scaling.models.parametrisation import attention_scale
from scaling.models.sight import Pattern
from scaling.training.losses import Task
from scaling.training.step import Hyper, compiled_init, optimizer

TRACED_STEPS = 3
LONGEST_KERNELS = 25
# What a kernel's name says of it, the first that fits.
KINDS = {
    "attention": ("fmha", "flash", "sdpa", "attention"),
    "products": ("gemm", "nvjet", "cutlass", "xmma", "matmul", "dot", "cublas"),
    "copies": ("memcpy", "memset", "copy", "transpose"),
    "reductions": ("reduce",),
    "loops over elements": ("fusion", "loop", "input_", "wrapped"),
}

Advance = Callable[[int], None]


def parts_alone(
    model: TransformerConfig,
    batch: int,
    precision: str,
    step_seconds: float,
    peak: float | None,
    seconds_a_call: Callable[[Advance], list[float]],
) -> dict[str, Any]:
    """Seconds of each part of one step and its share. peak: the device's FLOP/s, for the share that products reach."""
    makers = {"attention": _attention, "products": _products, "head and loss": _head, "optimizer": _optimizer}
    seconds, flops = {}, {}
    for name, make in makers.items():
        seconds[name], flops[name] = 0.0, 0.0
        for call, times, each in make(model, batch, precision):
            seconds[name] += times * statistics.median(seconds_a_call(call))
            flops[name] += times * each
    seconds["rest"] = step_seconds - sum(seconds.values())
    return {
        "seconds": seconds,
        "shares": {name: spent / step_seconds for name, spent in seconds.items()},
        "of_peak": {name: flops[name] / seconds[name] / peak for name in flops if flops[name]} if peak else None,
    }


def _repeated(function: Callable[..., Any], *given: Any) -> Advance:
    """Calls of a compiled function on one input."""
    compiled = jax.jit(function)

    def advance(times: int) -> None:
        for _ in range(times):
            out = compiled(*given)
        jax.block_until_ready(out)

    return advance


Part = tuple[Advance, int, float]  # what runs, how often a step runs it, its FLOPs


def _attention(model: TransformerConfig, batch: int, precision: str) -> list[Part]:
    """Scores and mixing of one layer, forward and backward."""
    shapes = [
        (batch, model.context, heads, model.head_dim) for heads in (model.heads, model.key_heads, model.key_heads)
    ]
    q_BTNH, k_BTKH, v_BTKH = (_random(index, shape, precision) for index, shape in enumerate(shapes))

    def summed(q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array) -> jax.Array:
        mixed = attend(q_BTNH, k_BTKH, v_BTKH, Pattern(causal=True), scale=attention_scale(model))
        return jnp.sum(mixed.astype(jnp.float32))

    flops = 3 * 4 * batch * model.context**2 * model.heads * model.head_dim  # the whole square
    return [(_repeated(jax.grad(summed, argnums=(0, 1, 2)), q_BTNH, k_BTKH, v_BTKH), model.layers, flops)]


def _products(model: TransformerConfig, batch: int, precision: str) -> list[Part]:
    """The three products of every matrix of the blocks: forward, gradient of the input, gradient of the matrix."""
    task, found, tokens = Task(model, NextToken(), 0, False), Counter(), batch * model.context
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(compiled_init(task), 0).params)
    for path, leaf in leaves:
        if path[-1].key == "kernel" and leaf.ndim == 3:  # (layers, I, O)
            found[leaf.shape[1:]] += leaf.shape[0]

    def three(x_MI: jax.Array, w_IO: jax.Array, dy_MO: jax.Array) -> tuple[jax.Array, ...]:
        return x_MI @ w_IO, dy_MO @ w_IO.T, x_MI.T @ dy_MO

    def part(i: int, o: int, times: int) -> Part:
        given = (_random(index, shape, precision) for index, shape in enumerate([(tokens, i), (i, o), (tokens, o)]))
        return _repeated(three, *given), times, 6.0 * tokens * i * o

    return [part(i, o, times) for (i, o), times in found.items()]


def _head(model: TransformerConfig, batch: int, precision: str) -> list[Part]:
    """Logits, losses and their gradients."""
    tokens = batch * model.context
    x_MD = _random(0, (tokens, model.dim), precision)
    head_VD = _random(1, (model.vocab, model.dim), precision)
    targets_M = jax.random.randint(jax.random.key(2), (tokens,), 0, model.vocab)
    weights_M, chunks = jnp.ones(tokens), chunks_of(tokens, model.vocab)

    def summed(x_MD: jax.Array, head_VD: jax.Array) -> jax.Array:
        if chunks > 1:
            return jnp.sum(chunked_losses(x_MD, head_VD, None, targets_M, weights_M, model.logit_softcap, chunks))
        return jnp.sum(token_losses(unembed(x_MD, head_VD), targets_M))

    flops = 6.0 * tokens * model.dim * model.vocab
    return [(_repeated(jax.value_and_grad(summed, argnums=(0, 1)), x_MD, head_VD), 1, flops)]


def _optimizer(model: TransformerConfig, batch: int, precision: str) -> list[Part]:
    """Clipping, AdamW, and the sum with the parameters, which are donated."""
    state = compiled_init(Task(model, NextToken(), 0, False))(0)
    grads = jax.tree.map(lambda p: 1e-3 * p, state.params)
    numbers = Hyper(lr=1e-6, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)

    def update(state: Any, grads: Any) -> Any:
        updates, moments = optimizer(model, numbers).update(grads, state.optimizer, state.params)
        return type(state)(jax.tree.map(jnp.add, state.params, updates), moments)

    compiled = jax.jit(update, donate_argnums=0)

    def advance(times: int) -> None:
        nonlocal state
        for _ in range(times):
            state = compiled(state, grads)
        jax.block_until_ready(state)

    return [(advance, 1, 0.0)]


def _random(seed: int, shape: tuple[int, ...], precision: str) -> jax.Array:
    # Not zeros: of these a device draws less power and so runs faster than in training.
    return jax.random.normal(jax.random.key(seed), shape, precision)


def traced(advance: Advance, step_seconds: float) -> dict[str, Any]:
    """The kernels of a few steps by kind and by name, seconds a step; where there are none, the reason."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            advance(TRACED_STEPS)
        files = sorted(Path(folder).rglob("*.xplane.pb"))
        if not files:
            return {"missing": "the profiler wrote no trace"}
        planes = list(jax.profiler.ProfileData.from_file(str(files[-1])).planes)
        spent = _by_kernel(planes)
    if not spent:
        return {"missing": f"no kernels of a device in the trace, which holds {[plane.name for plane in planes]}"}
    kinds: Counter[str] = Counter()
    for name, seconds in spent.items():
        kinds[kind_of(name)] += seconds
    return {
        "seconds": dict(kinds.most_common()),
        "shares": {kind: seconds / step_seconds for kind, seconds in kinds.most_common()},
        "longest": [[name[:160], seconds] for name, seconds in spent.most_common(LONGEST_KERNELS)],
    }


def _by_kernel(planes: list[Any]) -> Counter[str]:
    """Seconds a step of every kernel: the events on a GPU's streams."""
    spent: Counter[str] = Counter()
    for plane in planes:
        for line in plane.lines if plane.name.startswith("/device:") else ():
            if line.name.startswith("Stream"):
                for event in line.events:
                    spent[event.name] += event.duration_ns * 1e-9 / TRACED_STEPS
    return spent


def kind_of(name: str) -> str:
    """What a kernel does, as far as its name says."""
    for kind, words in KINDS.items():
        if any(word in name.lower() for word in words):
            return kind
    return "others"
