"""What a batch costs: from windows of text to the nats of its loss-bearing targets, for every model and objective.

The corruption of an objective happens here, inside the compiled step, as a
function of the window and one key a row.

Letters: B sequences, T positions, W tokens of a window, K predicted tokens, M = B K, D width.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from scaling.config import ModelConfig, ObjectiveConfig, ReplacedTokens, RunConfig, Word2VecConfig
from scaling.config.precision import EightBits
from scaling.models import electra, families, word2vec
from scaling.models.families import Params
from scaling.models.head import (
    chunked_losses,
    chunks_of,
    gaps_of_states,
    mean_logit_gaps,
    shared_mean_logit_gaps,
    shared_token_losses,
    token_losses,
)
from scaling.objectives.build import example
from scaling.objectives.example import Example
from scaling.objectives.marks import Marks
from scaling.parallel.collectives import mean
from scaling.parallel.context import my_part, whole
from scaling.parallel.layout import ALONE, BATCH_AXES, Layout
from scaling.parallel.weights import gathered


class Task(NamedTuple):
    """What is learned by what: runs of one task and batch shape share a compiled step."""

    model: ModelConfig
    objective: ObjectiveConfig
    specials: int  # special tokens at the end of the vocabulary
    smoothed: bool  # whether targets are smoothed in training
    spikes_skipped: bool = False  # whether the train state follows the norms of its gradients


class Tokens(NamedTuple):
    """One batch on the device; None where the task needs none."""

    window_BW: Array
    keys_B2: Array  # uint32: two words of randomness a row
    documents_BT: Array | None = None  # attention stays within them
    others_BW: Array | None = None  # other windows, for objectives that pair texts
    bears_BT: Array | None = None  # bool: which targets bear loss, where not all of a window's do


class Knowledge(NamedTuple):
    """What a task knows of its tokens beside their numbers; the same for all batches of a run."""

    marks: Marks | None = None
    noise_V: Array | None = None  # how likely a token is drawn as a negative, summing to one


class Losses(NamedTuple):
    """Of a batch."""

    nats_BK: Array  # of each target, 0 where it bears no loss: what is reported and fitted
    weights_BK: Array  # 1 where a target bears loss
    smoothing: Array  # summed: what label smoothing of strength one would add
    auxiliary: Array  # learned beside the loss and not part of it, a mean
    dropped: Array  # share of the visits to experts that found no slot
    copies: int = 1  # devices that hold the same targets and have computed the same
    is_part: bool = False  # the targets are this device's part of the sequences


def task_of(run: RunConfig) -> Task:
    optim = run.optim
    return Task(run.model, run.objective, run.data.specials, optim.label_smoothing > 0, optim.spike_factor is not None)


def init(task: Task, seed: Array | int) -> Params:
    """Fresh parameters of everything the task learns."""
    if isinstance(task.objective, ReplacedTokens):
        return electra.init(task.model, task.objective, seed)
    if isinstance(task.model, Word2VecConfig):
        return word2vec.init(task.model, seed)
    return families.init(task.model, seed)


def losses(
    task: Task,
    params: Params,
    tokens: Tokens,
    knowledge: Knowledge,
    layout: Layout = ALONE,
    bits: EightBits | None = None,
) -> Losses:
    """The loss of every target of this device's sequences.

    params: in the precision of the compute. bits: see `families.states`.
    """
    keys_B = jax.random.wrap_key_data(tokens.keys_B2, impl="threefry2x32")
    if isinstance(task.model, Word2VecConfig):
        return _of_word_vectors(task, params, tokens, keys_B, knowledge)
    made = example(
        task.model, task.objective, task.specials, tokens.window_BW, keys_B, knowledge.marks, tokens.others_BW
    )
    if tokens.documents_BT is not None:
        made = made._replace(inputs=made.inputs._replace(documents_BT=tokens.documents_BT))
    if tokens.bears_BT is not None:
        made = made._replace(weights_BK=made.weights_BK * tokens.bears_BT)
    if isinstance(task.objective, ReplacedTokens):
        found = electra.losses(task.model, task.objective, params, made, keys_B)
        return Losses(found.nats_BT, found.weights_BT, jnp.zeros(()), found.auxiliary, jnp.zeros(()))
    return _of_predictions(task, params, made, layout, bits)


def _of_predictions(task: Task, params: Params, made: Example, layout: Layout, bits: EightBits | None) -> Losses:
    if layout.zero == 3:
        params = gathered(params, layout, but_blocks=True)
    in_place = made.places_BK.shape[1] == made.inputs.tokens_BT.shape[1]
    made = _of_my_context(made, in_place, layout)
    states = families.states(task.model, params, made.inputs, layout, bits)
    x_BTD = states.x_BTD if in_place else whole(states.x_BTD, layout)
    nats_BK, smoothing = _nats(task, params, _chosen(x_BTD, made.places_BK, in_place), made, layout)
    return Losses(
        nats_BK=nats_BK,
        weights_BK=made.weights_BK,
        smoothing=smoothing,
        auxiliary=states.routing.loss + _sentence_loss(task, params, x_BTD, made.next_B, layout),
        dropped=states.routing.dropped,
        copies=layout.ways("pipe", "tensor") * (1 if in_place else layout.context),
        is_part=in_place,
    )


def _of_my_context(made: Example, in_place: bool, layout: Layout) -> Example:
    """This device's part of the sequences; targets that do not stand beside their positions stay whole."""

    def mine(x_BT: Array | None) -> Array | None:
        return None if x_BT is None else my_part(x_BT, layout)

    inputs = made.inputs._replace(
        tokens_BT=mine(made.inputs.tokens_BT),
        documents_BT=mine(made.inputs.documents_BT),
        types_BT=mine(made.inputs.types_BT),
        source_BS=mine(made.inputs.source_BS),
        source_documents_BS=mine(made.inputs.source_documents_BS),
    )
    if not in_place:
        return made._replace(inputs=inputs)
    return made._replace(inputs=inputs, targets_BK=mine(made.targets_BK), weights_BK=mine(made.weights_BK))


def _nats(task: Task, params: Params, x_MD: Array, made: Example, layout: Layout) -> tuple[Array, Array]:
    """Nats of every target, weighted, (B, K), and what smoothing of strength one would add to their sum."""
    targets_M, weights_M = made.targets_BK.reshape(-1), made.weights_BK.reshape(-1)
    chunks, gaps_M = chunks_of(len(targets_M), task.model.vocab), jnp.zeros(())
    shared = layout.ways("pipe", "tensor") > 1
    # The mean of capped logits does not follow from the states: smoothed, these take the plain way.
    if chunks > 1 and not shared and not (task.smoothed and getattr(task.model, "logit_softcap", None)):
        read = families.readout(task.model, params, x_MD)
        nats_M = chunked_losses(read.x_MD, read.head_VD, read.bias_V, targets_M, weights_M, read.cap, chunks)
        if task.smoothed:
            gaps_M = gaps_of_states(read.x_MD, read.head_VD, read.bias_V, targets_M)
    else:
        logits_MV = families.logits(task.model, params, x_MD)
        nats_of, gaps_of = (token_losses, mean_logit_gaps)
        if shared:
            nats_of, gaps_of = (partial(way, layout=layout) for way in (shared_token_losses, shared_mean_logit_gaps))
        nats_M = nats_of(logits_MV, targets_M) * weights_M
        if task.smoothed:
            gaps_M = gaps_of(logits_MV, targets_M)
    return nats_M.reshape(made.targets_BK.shape), jnp.sum(gaps_M * weights_M)


def _chosen(x_BTD: Array, places_BK: Array, in_place: bool) -> Array:
    """The states that predict the targets, (M, D). in_place: every position predicts a target, in order."""
    if in_place:
        return x_BTD.reshape(-1, x_BTD.shape[-1])
    return jnp.take_along_axis(x_BTD, places_BK[..., None], axis=1).reshape(-1, x_BTD.shape[-1])


def _sentence_loss(task: Task, params: Params, x_BTD: Array, next_B: Array | None, layout: Layout) -> Array:
    """Mean nats of telling next texts from others, over all devices; 0 without them."""
    if next_B is None:
        return jnp.zeros(())
    logits_B2 = families.sentence_logits(task.model, params, x_BTD)
    return mean(jnp.mean(token_losses(logits_B2, 1 - next_B.astype(jnp.int32))), BATCH_AXES, layout)


def _of_word_vectors(task: Task, params: Params, tokens: Tokens, keys_B: Array, knowledge: Knowledge) -> Losses:
    nats_BP, weights_BP = word2vec.losses(
        task.model, task.objective, params, tokens.window_BW[:, :-1], keys_B, knowledge.noise_V
    )
    return Losses(nats_BP, weights_BP, jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
