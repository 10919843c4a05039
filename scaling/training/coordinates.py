"""Measure a coordinate check: train models of several sizes for a few steps on one batch, and look inside.

Training is the laboratory's own step, so that what is checked is what runs.

Letters: B sequences, T positions, W tokens of a window, M = B T.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from scaling.config import NextToken, OptimConfig, TransformerConfig
from scaling.coordinates import Coordinates
from scaling.models import families
from scaling.models.families import Params
from scaling.models.inputs import Inputs
from scaling.models.sight import Sight
from scaling.models.stack import Block
from scaling.models.transformer import Transformer
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.step import Hyper, compiled_init, compiled_step

SEQUENCES = 4  # of the batch


def check(
    models: Sequence[TransformerConfig],
    *,
    along: Literal["width", "depth"],
    parametrisation: str,
    steps: int,
    lr: float,
    seeds: int,
) -> Coordinates:
    """Train every model at one learning rate, and measure before the first step and after each.

    along: in what the models differ. parametrisation: what the result is
    called. The batch is random tokens, the same for all models and steps; over
    seeds, of the initialisation, squares are averaged. Raises ValueError for
    other models than decoders, fewer than two of them, or nothing to do.
    """
    if other := [model.architecture for model in models if model.architecture != "decoder"]:
        raise ValueError(f"a coordinate check trains decoders; leave architecture={other[0]!r} out")
    if len(models) < 2 or steps < 1 or seeds < 1 or lr <= 0:
        raise ValueError(
            f"a coordinate check of {len(models)} sizes with steps={steps}, seeds={seeds}, lr={lr}: "
            "give at least two sizes, one step and one seed, and a positive lr"
        )
    found = []
    for model in models:
        repeats = [measure(model, seed=seed, steps=steps, lr=lr) for seed in range(seeds)]
        found.append({name: np.sqrt(np.mean([squares[name] for squares in repeats], axis=0)) for name in repeats[0]})
    return Coordinates(
        along=along,
        parametrisation=parametrisation,
        sizes=tuple(model.dim if along == "width" else model.layers for model in models),
        values={name: np.stack([rms[name][:, 0] for rms in found]) for name in found[0]},
        changes={name: np.stack([rms[name][:, 1] for rms in found]) for name in found[0]},
    )


def measure(model: TransformerConfig, *, seed: int, steps: int, lr: float) -> dict[str, np.ndarray]:
    """Mean squares (steps + 1, 2) of every quantity's coordinates, and of what they have changed since the start."""
    optim = OptimConfig(lr=lr)
    numbers = Hyper(lr, optim.weight_decay, optim.beta1, optim.beta2, optim.eps, optim.clip, optim.label_smoothing)
    task = Task(model, NextToken(), specials=0, smoothed=False)
    step = compiled_step(task, "float32")
    window_BW = np.random.default_rng(0).integers(0, model.vocab, (SEQUENCES, model.context + 1), np.int32)
    tokens = Tokens(window_BW, np.zeros((SEQUENCES, 2), np.uint32))
    state = compiled_init(task)(seed)
    first = coordinates(model, state.params, window_BW[:, :-1])
    rows = [_squares(first, first)]
    for _ in range(steps):
        state, _ = step(state, tokens, Knowledge(), numbers)
        rows.append(_squares(coordinates(model, state.params, window_BW[:, :-1]), first))
    return {name: np.stack([row[name] for row in jax.device_get(rows)]) for name in first}


@partial(jax.jit, static_argnums=0)
def coordinates(model: TransformerConfig, params: Params, tokens_BT: Array) -> dict[str, Array]:
    """What a decoder computes on its way, by `coordinates.QUANTITIES`; of all layers where each has it."""
    module: Transformer = nnx.merge(nnx.split(nnx.eval_shape(lambda: Transformer(model, nnx.Rngs(0))))[0], params)
    stack, positions = module.decoder, tokens_BT.shape[1]
    around = stack.around(positions, Sight())
    x_MD = stack.placed(module.embedded(tokens_BT, None), around)
    found = {"embedding": x_MD}
    branches: dict[str, list[Array]] = {"attention": [], "mlp": []}
    for block in _layers(stack.blocks):
        (x_MD, _), inside = nnx.capture(Block.__call__, nnx.Intermediate, method_outputs=nnx.Intermediate)(
            block, x_MD, around
        )
        branches["attention"].append(_output(inside["attention"]))
        branches["mlp"].append(_output(inside["experts" if "experts" in inside else "mlp"]))
    found |= {name: jnp.stack(outputs) for name, outputs in branches.items()}
    found["stream"] = x_MD
    found["state"] = x_MD if stack.final_norm is None else stack.final_norm(x_MD)
    states = families.states(model, params, Inputs(tokens_BT)).x_BTD
    found["logits"] = families.logits(model, params, states.reshape(-1, model.dim))
    return found


def _layers(blocks: nnx.Dict) -> Iterator[Block]:
    """The blocks in order, each with its own parameters."""
    stacks = [nnx.split(blocks[str(place)]) for place in range(len(blocks))]
    repeats = jax.tree.leaves(stacks[0][1])[0].shape[0]
    for repeat in range(repeats):
        for graph, stacked in stacks:
            yield nnx.merge(graph, jax.tree.map(lambda leaf, at=repeat: leaf[at], stacked))


def _output(inside: nnx.State) -> Array:
    """What a captured module returned; of experts, without their routing."""
    (returned,) = nnx.to_pure_dict(inside)["__call__"]
    return returned[0] if isinstance(returned, tuple) else returned


@jax.jit
def _squares(now: dict[str, Array], first: dict[str, Array]) -> dict[str, Array]:
    """Mean squares of values and of changes, (2,) each."""
    return {
        name: jnp.stack([jnp.mean(jnp.square(x)), jnp.mean(jnp.square(x - first[name]))]) for name, x in now.items()
    }
