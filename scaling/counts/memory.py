"""Bytes that one device needs to train and to generate."""

from dataclasses import dataclass

from scaling.config import ModelConfig, ObjectiveConfig, RecurrentConfig, TransformerConfig
from scaling.counts import weights
from scaling.counts.activations import WIDTHS, Precision, activation_bytes
from scaling.counts.parameters import NEXT_TOKEN, params


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
    """Bytes that one device needs to train, nothing sharded, at the step's peak."""

    params: int  # weights, and their bfloat16 copy where there is one
    gradients: int  # and their accumulator; while there are none yet, a CPU keeps each layer's weights there
    optimizer: int
    activations: int  # of one microbatch
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
    """What this project's policy keeps a parameter: 16 bytes in float32, 18 in bfloat16, 4 more to accumulate.

    Parameters, gradients and moments are float32 in both; bfloat16 adds a
    copy of the weights for the compute.
    """
    copy = {"float32": 0, "bfloat16": 2}[precision]
    return StateBytes(params=4, copy=copy, gradients=4, accumulator=4 if microbatches > 1 else 0)


def training_memory(
    model: ModelConfig,
    objective: ObjectiveConfig = NEXT_TOKEN,
    *,
    sequences: int,
    precision: Precision = "float32",
    microbatches: int = 1,
    fused_attention: bool = False,
) -> TrainingMemory:
    """Bytes at the peak of a training step that computes `sequences` sequences at a time: a batch, or a microbatch.

    fused_attention: as on an accelerator with flash attention, which was never
    compared with a compiled step. Without it: as XLA compiles the step for a
    CPU, within a fifth of what it allocates (`tests/counts/test_memory.py`).
    Every sequence is as long as the objective makes it of the model's context.
    n-grams are counted by no compiled step: 0.
    """
    if sequences < 1:
        raise ValueError(f"training_memory: sequences={sequences}; a microbatch holds at least one")
    count, state = params(model, objective).total, state_bytes(precision, microbatches=microbatches)
    each = activation_bytes(model, objective, precision=precision, fused_attention=fused_attention)
    return TrainingMemory(
        params=count * (state.params + state.copy),
        gradients=count * (state.gradients + state.accumulator),
        optimizer=count * state.optimizer,
        activations=sequences * each,
        workspace=0 if fused_attention else _workspace(model),
    )


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
