"""What a check of parallelism trains: a run's own model and objective at a size that compiles in seconds.

No JAX.
"""

from dataclasses import replace
from math import lcm

from scaling.config import (
    ModelConfig,
    ObjectiveConfig,
    Placement,
    RunConfig,
    ScheduleConfig,
    TransformerConfig,
    lengths,
)

BATCH = 16
STEPS = 3
LAYERS = 2  # or as many periods: a stage each for two devices
LENGTHS = range(16, 257)  # tokens of text, of which the first is taken that every axis can divide

# One axis after another, and what they are used for together; those of 8 devices stand last.
PLACEMENTS = (
    Placement(data=2),
    Placement(data=1, fsdp=2, zero=1, microbatches=2),
    Placement(data=1, fsdp=2, zero=2, microbatches=2),
    Placement(data=1, fsdp=2, microbatches=2),
    Placement(data=1, fsdp=2, remat="block"),
    Placement(data=1, tensor=2),
    Placement(data=1, expert=2),
    Placement(data=1, pipe=2, microbatches=4),
    Placement(data=1, pipe=2, repeats=2, microbatches=2),
    Placement(data=1, context=2),
    Placement(data=1, tensor=4),
    Placement(data=1, context=4),
    Placement(data=1, expert=2, tensor=2),
    Placement(data=1, pipe=2, expert=2, microbatches=2),
    Placement(data=1, pipe=2, fsdp=2, microbatches=2, remat="block"),
    Placement(data=2, fsdp=2, tensor=2),
    Placement(data=1, fsdp=2, expert=2, tensor=2),
    Placement(data=1, pipe=2, fsdp=2, tensor=2, microbatches=2),
    Placement(data=2, context=2, tensor=2),
    Placement(data=1, pipe=2, context=2, tensor=2, microbatches=2),
)


def tiny(run: RunConfig) -> RunConfig:
    """The run made small: a few layers of little width on short texts, every option of the family kept.

    An expert's capacity is left out: it is each device's own, so what it drops
    rightly differs between placements. So is lower precision, which would
    hide what is compared.
    """
    model, objective = _model(run.model), run.objective
    if isinstance(model, TransformerConfig):
        model, objective = _fitting(model, objective)
    found = lengths(model, objective)
    vocab = -(-(260 + found.specials) // 16) * 16
    data = replace(run.data, tokenizer="bpe", content="", vocab=vocab - found.specials, specials=found.specials)
    return replace(
        run,
        model=replace(model, vocab=vocab),
        objective=objective,
        data=data,
        batch=BATCH,
        tokens=BATCH * STEPS * found.text,
        schedule=ScheduleConfig(kind="constant"),
        precision="float32",
        trunk=None,
    )


def deep_enough(run: RunConfig, placement: Placement) -> RunConfig:
    """The run with as many layers as a circular pipeline's stages need that come past several times."""
    if placement.repeats == 1 or not isinstance(run.model, TransformerConfig):
        return run
    layers, encoder = run.model.layers * placement.repeats, run.model.encoder_layers
    return replace(run, model=replace(run.model, layers=layers, encoder_layers=encoder and encoder * placement.repeats))


def axes_of(placement: Placement) -> str:
    """What sets a placement apart, for a person."""
    sizes = [f"{axis} {size}" for axis in ("data", "fsdp", "expert", "pipe", "context", "tensor")
             if (size := getattr(placement, axis)) > 1]  # fmt: skip
    more = [f"zero {placement.zero}"] if placement.fsdp > 1 else []
    more += [f"repeats {placement.repeats}"] if placement.repeats > 1 else []
    more += [f"microbatches {placement.microbatches}"] if placement.microbatches > 1 else []
    more += ["remat"] if placement.remat == "block" else []
    return ", ".join(sizes + more)


def _model(model: ModelConfig) -> ModelConfig:
    if not isinstance(model, TransformerConfig):
        small = {"dim": 32, "layers": 1, "context": 32}
        return replace(model, **{name: value for name, value in small.items() if hasattr(model, name)})
    moe, both = model.moe, model.encoder_layers is not None
    if moe is not None:
        moe = replace(
            moe, experts=8, active=min(moe.active, 4), shared=min(moe.shared, 1), dim=moe.dim and 32,
            every=min(moe.every, 2), capacity=None,
        )  # fmt: skip
    every = model.global_every and min(model.global_every, 2)
    layers = LAYERS * lcm(every or 1, moe.every if moe else 1)
    return replace(
        model, dim=32, heads=4, layers=layers, encoder_layers=layers if both else None, moe=moe, global_every=every,
        kv_heads=2 if model.key_heads < model.heads else None, head_size=model.head_size and 16, mlp_dim=None,
        window=model.window and min(model.window, 8), context=2 * LENGTHS[-1],
    )  # fmt: skip


def _fitting(model: TransformerConfig, objective: ObjectiveConfig) -> tuple[TransformerConfig, ObjectiveConfig]:
    """A context and a length of text of which each side's positions can be divided by 8, if there are any."""
    prefix = {"prefix": 8} if getattr(objective, "prefix", None) else {}
    found = [(text, lengths(model, replace(objective, text=text, **prefix))) for text in LENGTHS]
    text, longest = next(
        ((text, max(of.positions, of.source)) for text, of in found if of.positions % 8 == of.source % 8 == 0),
        (found[0][0], max(found[0][1].positions, found[0][1].source)),
    )
    return replace(model, context=longest), replace(objective, text=text, **prefix)
