"""Bytes that one device needs to train and to generate."""

from dataclasses import dataclass
from functools import cache

from scaling.config import ModelConfig, ObjectiveConfig, RecurrentConfig, TransformerConfig
from scaling.config.precision import WIDTHS, Precision, type_of
from scaling.counts import weights
from scaling.counts.activations import Kept, Parts, in_bytes, parts
from scaling.counts.divided import share
from scaling.counts.parameters import NEXT_TOKEN, params
from scaling.parallel.layout import ALONE, Layout

LOGITS_AT_ONCE = 1 << 28  # of `models.head`: the loss of more is computed in parts, where a device has whole logits


@dataclass(frozen=True, kw_only=True)
class StateBytes:
    """Bytes that training keeps for each parameter, whatever the batch.

    The often quoted 16 bytes are params=4, copy=2, gradients=2, optimizer=8:
    bfloat16 weights and gradients beside a float32 master and Adam's two
    moments (Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1).
    """

    params: int  # the weights that are updated
    copy: int  # their lower-precision copy for the compute
    gradients: int
    accumulator: int = 0  # sum of the microbatches' gradients
    optimizer: int = 8  # AdamW: two float32 moments

    @property
    def total(self) -> int:
        return self.params + self.copy + self.gradients + self.accumulator + self.optimizer


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes that one device needs to train, at the step's peak."""

    params: int  # weights, their bfloat16 copy where there is one, and what is gathered of other devices'
    gradients: int  # and their accumulator; while there are none yet, a CPU keeps each layer's weights there
    optimizer: int
    activations: int  # of one microbatch; in a pipeline, of all that are in it
    workspace: int = 0  # of loops on a CPU, over experts or time: copies of their weights

    @property
    def total(self) -> int:
        return self.params + self.gradients + self.optimizer + self.activations + self.workspace


@dataclass(frozen=True, kw_only=True)
class InferenceMemory:
    """Bytes that one device needs to generate."""

    weights: int
    cache: int  # keys and values of every layer and token, or a recurrent model's state

    @property
    def total(self) -> int:
        return self.weights + self.cache


def state_bytes(precision: Precision, *, microbatches: int = 1) -> StateBytes:
    """What this project's policy keeps a parameter: 16 bytes in float32, else 18, 4 more to accumulate.

    Parameters, gradients and moments are float32 in all; less adds a bfloat16
    copy of the weights for the compute.
    """
    copy = 0 if type_of(precision) == "float32" else 2
    return StateBytes(params=4, copy=copy, gradients=4, accumulator=4 if microbatches > 1 else 0)


def training_memory(
    model: ModelConfig,
    objective: ObjectiveConfig = NEXT_TOKEN,
    *,
    sequences: int,
    precision: Precision = "float32",
    fused_attention: bool = False,
    layout: Layout = ALONE,
) -> TrainingMemory:
    """Bytes at the peak of a training step that computes `sequences` sequences at a time: a batch, or a microbatch.

    fused_attention: as on an accelerator with flash attention, which was never
    compared with a compiled step. Without it: as XLA compiles the step for a
    CPU, within a fifth of what it allocates (`tests/counts/test_memory.py`).
    Every sequence is as long as the objective makes it of the model's context.
    n-grams are counted by no compiled step: 0. layout: `sequences` are then
    those of one device, whole; what other axes divide of them is counted here.
    """
    if sequences < 1:
        raise ValueError(f"training_memory: sequences={sequences}; a microbatch holds at least one")
    own = share(model, objective, layout)
    experts = weights.experts(model) if isinstance(model, TransformerConfig) else 0
    workspace = 0 if fused_attention else _workspace(model) // (layout.ways("expert", "pipe") if experts else 1)
    return TrainingMemory(
        params=_weights(model, objective, precision, fused_attention, layout),
        gradients=_gradients(model, objective, precision, layout),
        optimizer=own.held * state_bytes(precision).optimizer,
        activations=_activations(model, objective, sequences, precision, fused_attention, layout),
        workspace=workspace,
    )


def passing_bytes(
    model: ModelConfig,
    objective: ObjectiveConfig = NEXT_TOKEN,
    *,
    sequences: int,
    precision: Precision = "float32",
    fused_attention: bool = False,
    layout: Layout = ALONE,
) -> float:
    """Bytes of activations that one device makes of `sequences` sequences, kept or computed again.

    In a pipeline of its own stage, with the idle ticks, which compute as others do.
    """
    found = _parts(model, objective, fused_attention, layout)
    of_layers = in_bytes(Kept.sum(found.layers), precision) / layout.pipe / (1 - layout.bubble)
    return sequences * (of_layers + in_bytes(Kept.sum([found.ends, found.logits]), precision))


def inference_memory(
    model: ModelConfig,
    *,
    sequences: int,
    tokens: int | None = None,
    source: int | None = None,
    precision: Precision = "bfloat16",
) -> InferenceMemory:
    """Bytes to generate `sequences` texts of `tokens` tokens (None: a full context) at once.

    The cache of a layer holds 2 * key_heads * head_dim numbers a token:
    grouped keys shrink it, and a window keeps no more tokens than it is wide.
    A decoder with a source also holds those of its `source` tokens (None: a
    full context); an encoder generates nothing.
    """
    tokens = model.context if tokens is None else tokens
    source = model.context if source is None else source
    if sequences < 1 or tokens < 0 or source < 0:
        raise ValueError(
            f"inference_memory: sequences={sequences}, tokens={tokens}, source={source}; "
            "give 1 sequence or more, 0 tokens or more"
        )
    width = WIDTHS[precision]
    return InferenceMemory(
        weights=width * params(model).total, cache=width * sequences * _cached(model, tokens, source)
    )


def _weights(model: ModelConfig, objective: ObjectiveConfig, precision: Precision, fused: bool, layout: Layout) -> int:
    """Weights at rest, in the precision of the compute, and gathered over `fsdp`.

    With zero=3 a layer is gathered where it is used, forward and again
    backward; XLA's CPU compiler keeps it instead, except where the whole block
    is computed again. A pipeline gathers
    a stage's layers before its first tick. With zero=1 and 2 all is gathered
    first, in float32, and then cast.
    """
    own, state = share(model, objective, layout), state_bytes(precision)
    at_rest = own.held * state.params
    if layout.fsdp == 1:
        return at_rest + own.held * state.copy
    if layout.zero < 3:
        return at_rest + own.whole * (state.params + state.copy)
    again = (fused or layout.remat == "block") and layout.pipe == 1
    layers = own.gathered_layers // _periods(model) if again else own.gathered_layers
    return at_rest + own.held * state.copy + WIDTHS[precision] * (layers + own.gathered_ends)


def _gradients(model: ModelConfig, objective: ObjectiveConfig, precision: Precision, layout: Layout) -> int:
    """Gradients, of all microbatches where there are several, and before they are scattered over `fsdp`."""
    own, accumulates = share(model, objective, layout), layout.microbatches > 1 and layout.pipe == 1
    state = state_bytes(precision, microbatches=layout.microbatches if accumulates else 1)
    held = own.held * (state.gradients + state.accumulator)
    if layout.fsdp > 1 and layout.zero < 3:
        held += own.whole * (state.gradients + (state.accumulator if layout.zero == 1 else 0))
    if layout.pipe > 1 and layout.fsdp > 1 and layout.zero == 3:
        held += own.gathered_layers * WIDTHS[precision]  # summed over the ticks, then scattered
    elif layout.pipe > 1:
        held += own.whole * state.copy  # summed over the ticks in bfloat16
    return held


def _activations(
    model: ModelConfig,
    objective: ObjectiveConfig,
    sequences: int,
    precision: Precision,
    fused: bool,
    layout: Layout,
) -> int:
    """What is kept between forward and backward pass, and what is computed again at a time.

    Where layers are computed again the logits have gone by then.
    """
    found = _parts(model, objective, fused, layout)
    together = sequences * (layout.microbatches if layout.pipe > 1 else 1)  # that enter and leave the layers
    kept, again = _layers(model, found, precision, layout)
    logits = 4 * together * found.logits.wide
    if layout.ways("pipe", "tensor") == 1:
        logits = min(logits, 4 * 2 * LOGITS_AT_ONCE)
    return sequences * kept + together * in_bytes(found.ends, precision) + max(sequences * again, logits)


def _layers(model: ModelConfig, found: Parts, precision: Precision, layout: Layout) -> tuple[int, int]:
    """Bytes of a sequence that a device's layers keep, and that it computes again at a time."""
    whole, stream = in_bytes(Kept.sum(found.layers), precision), WIDTHS[precision] * found.inputs
    periods, stages = _periods(model), layout.pipe * layout.repeats
    kept, again = whole, 0
    if layout.remat == "block":
        kept, again = stream * -(-periods // stages), whole // periods
    if layout.pipe > 1:
        # The input of every tick; embeddings, what has come round and what leaves the last stage.
        again += kept // stages if layout.remat == "none" else kept
        kept = stream * (layout.ticks + 3 * layout.microbatches)
    return kept, again


def _parts(model: ModelConfig, objective: ObjectiveConfig, fused: bool, layout: Layout) -> Parts:
    """Of the layout only what matters there, so that few are counted anew."""
    seen = Layout(context=layout.context, tensor=layout.tensor, expert=layout.expert, pipe=layout.pipe)
    return parts(model, objective, fused, seen)


@cache
def _periods(model: ModelConfig) -> int:
    """Of all layers of both stacks: what is gathered, or computed again, at a time is one of them."""
    if not isinstance(model, TransformerConfig):
        return 1
    stacks = (model.depth_of_encoder, model.depth_of_decoder)
    return sum(depth // len(model.period(depth)) for depth in stacks if depth)


def _workspace(model: ModelConfig) -> int:
    """XLA's loops on a CPU, over blocks of rows or over time, carry copies of the matrices that they multiply by."""
    if isinstance(model, RecurrentConfig):
        return 4 * params(model).body
    return 4 * weights.experts(model) if isinstance(model, TransformerConfig) else 0


def _cached(model: ModelConfig, tokens: int, source: int) -> int:
    """Numbers kept of one sequence."""
    both = model.architecture == "encoder_decoder"
    if isinstance(model, RecurrentConfig):  # state and cell; annotations of the source and their keys
        return model.layers * model.dim * (2 if model.cell == "lstm" else 1) + both * 2 * source * model.dim
    if not isinstance(model, TransformerConfig):
        return 0
    seen = sum(min(tokens, model.window_of(layer) or tokens) for layer in range(model.depth_of_decoder))
    return 2 * model.key_heads * model.head_dim * (seen + both * model.layers * source)
