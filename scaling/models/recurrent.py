"""Recurrent networks: Elman's tanh cell and the LSTM, as language model and from sequence to sequence.

rnn     h_t = tanh(W x_t + R h_t-1 + b)                                  (Elman 1990)
lstm    c_t = f c_t-1 + i g,  h_t = o tanh(c_t),  with the gates
        i, f, o = s(...), g = tanh(...) of W x_t + R h_t-1 + b           (Hochreiter & Schmidhuber 1997;
                                                                          forget gate f: Gers et al. 2000)

The gates lie in the order i, f, g, o. Every kernel begins as N(0, 1/fan_in),
biases at zero, that of the forget gate at one (Jozefowicz et al. 2015).

From sequence to sequence (Bahdanau et al. 2015, arXiv:1409.0473, appendix A):
the encoder's layers read in both directions, half the width each; the first
layer of the decoder attends to what they found, and its cell reads the
context beside the token. State, token and context are mapped to the width
before the head by one linear map, where the paper has a maxout layer.

Parameters, a cell being {input: {kernel (in, Z), bias (Z,)}, state: {kernel (H, Z)}}:

    embedding (V, D)
    decoder {"0": cell, "1": cell, ...}
    head (V, D)                                          if not tied
  and from sequence to sequence, where the input of decoder["0"] is token and context, 2 D:
    encoder {"0": {forward: cell, backward: cell}, ...}
    start {kernel (D / 2, D)}                            from the encoder's first state read backwards
    attention {query, key: {kernel (D, D)}, score (D,)}
    combine {kernel (3 D, D)}

Letters: B sequences, T positions, S source positions, M = T B, time first; D
width, H width of a state, Z its gates (4 H, or H); V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from scaling.config import RecurrentConfig
from scaling.models.inputs import PADDING, Inputs, States, no_routing
from scaling.models.recurrence import GATES, Memory, advance, apart, fresh, kept, recur

Params = dict[str, Any]

EMBEDDING_STD = 0.1
FORBIDDEN = -1e30  # added to a forbidden score: its exp is 0 in float32


def init(model: RecurrentConfig, seed: Array | int) -> Params:
    """Fresh float32 parameters; a pure function of the seed, a number or a key."""
    is_key = isinstance(seed, Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    keys = iter(jax.random.split(seed if is_key else jax.random.key(seed), 8 + 6 * model.layers))
    dim, translates = model.dim, model.architecture == "encoder_decoder"
    cells = [_cell(model, dim * (2 if translates and layer == 0 else 1), dim, keys) for layer in range(model.layers)]
    params = {
        "embedding": EMBEDDING_STD * jax.random.normal(next(keys), (model.vocab, dim)),
        "decoder": {str(layer): cell for layer, cell in enumerate(cells)},
    }
    if not model.tied:
        params["head"] = EMBEDDING_STD * jax.random.normal(next(keys), (model.vocab, dim))
    if translates:
        both = [{way: _cell(model, dim, dim // 2, keys) for way in ("forward", "backward")} for _ in cells]
        params["encoder"] = {str(layer): ways for layer, ways in enumerate(both)}
        params["start"] = _linear(dim // 2, dim, keys)
        params["attention"] = {name: _linear(dim, dim, keys) for name in ("query", "key")}
        params["attention"]["score"] = _linear(dim, 1, keys)["kernel"][:, 0]
        params["combine"] = _linear(3 * dim, dim, keys)
    return params


def states(model: RecurrentConfig, params: Params, inputs: Inputs) -> States:
    """The top layer's states, (B, T, D), in the precision of the parameters.

    A state is set to zero where documents change. Padding of the source is
    skipped; a model from sequence to sequence reads `source_BS`.
    """
    tokens_TB, keep_TB = inputs.tokens_BT.T, _keep(inputs.documents_BT)
    layers = [params["decoder"][str(layer)] for layer in range(model.layers)]
    if model.architecture == "encoder_decoder":
        x_TBD = _translate(model, params, layers, tokens_TB, keep_TB, inputs)
        return States(x_TBD.transpose(1, 0, 2), no_routing())
    h_THB = _first_layer(model, layers[0], params["embedding"], tokens_TB, keep_TB)
    for layer in layers[1:]:
        h_THB = _layer(model, layer, h_THB, keep_TB)
    return States(h_THB.transpose(2, 0, 1), no_routing())


def _first_layer(
    model: RecurrentConfig, cell: Params, embedding_VD: Array, tokens_TB: Array, keep_TB: Array | None
) -> Array:
    """The states of the layer that reads tokens, (T, H, B).

    Where a batch has far more tokens than the vocabulary, the input kernel is
    applied once to every token of the vocabulary: E[token] W = (E W)[token].
    """
    if tokens_TB.size < 2 * model.vocab:
        return _layer(model, cell, apart(embedding_VD[tokens_TB].transpose(0, 2, 1)), keep_TB)
    brings_VZ = embedding_VD @ cell["input"]["kernel"]
    return recur(model.cell, tokens_TB, brings_VZ, cell["state"]["kernel"], cell["input"]["bias"], keep_TB)


def _layer(model: RecurrentConfig, cell: Params, x_TDB: Array, keep_TB: Array | None) -> Array:
    """The states of one layer, (T, H, B)."""
    return recur(model.cell, x_TDB, cell["input"]["kernel"], cell["state"]["kernel"], cell["input"]["bias"], keep_TB)


def _keep(documents_BT: Array | None) -> Array | None:
    """0 where a token's document is not that of the token before, else 1; (T, B) float32."""
    if documents_BT is None:
        return None
    same_BT = jnp.pad(documents_BT[:, 1:] == documents_BT[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    return same_BT.T.astype(jnp.float32)


def _translate(
    model: RecurrentConfig,
    params: Params,
    layers: list[Params],
    tokens_TB: Array,
    keep_TB: Array | None,
    inputs: Inputs,
) -> Array:
    """States of the target side, (T, B, D)."""
    source_BS, is_text_BS = _text_first(inputs.source_BS, inputs.source_documents_BS)
    annotations_BSD = _encode(model, params, source_BS, is_text_BS)
    first_BH = annotations_BSD[:, 0, model.dim // 2 :]  # what reading backwards ends with
    start = fresh(model.cell, jnp.tanh(first_BH @ params["start"]["kernel"]))
    embedded_TBD = params["embedding"][tokens_TB]
    h_TBD, context_TBD = _attend_and_recur(
        model, params["attention"], layers[0], embedded_TBD, keep_TB, start, annotations_BSD, is_text_BS
    )
    for layer in layers[1:]:
        h_TBD = _layer(model, layer, h_TBD.transpose(0, 2, 1), keep_TB).transpose(0, 2, 1)
    return jnp.concatenate([h_TBD, embedded_TBD, context_TBD], axis=-1) @ params["combine"]["kernel"]


def _text_first(source_BS: Array, documents_BS: Array | None) -> tuple[Array, Array | None]:
    """The source with its padding moved behind the text, and what of it is text. Attention does not mind the order."""
    if documents_BS is None:
        return source_BS, None
    order_BS = jnp.argsort(documents_BS == PADDING, axis=-1, stable=True)
    ordered_BS = jnp.take_along_axis(documents_BS, order_BS, axis=-1)
    return jnp.take_along_axis(source_BS, order_BS, axis=-1), ordered_BS != PADDING


def _encode(model: RecurrentConfig, params: Params, source_BS: Array, is_text_BS: Array | None) -> Array:
    """The states of the source's tokens read in both directions, side by side, (B, S, D)."""
    # Read backwards, the padding comes first; what it leaves in the state is emptied where the text begins.
    keep_SB = _keep(None if is_text_BS is None else is_text_BS[:, ::-1])
    tokens_SB, cells = source_BS.T, params["encoder"]["0"]
    forward_SHB = _first_layer(model, cells["forward"], params["embedding"], tokens_SB, None)
    backward_SHB = _first_layer(model, cells["backward"], params["embedding"], tokens_SB[::-1], keep_SB)
    for layer in range(1, model.layers):
        x_SDB = jnp.concatenate([forward_SHB, backward_SHB[::-1]], axis=1)
        cells = params["encoder"][str(layer)]
        forward_SHB = _layer(model, cells["forward"], x_SDB, None)
        backward_SHB = _layer(model, cells["backward"], x_SDB[::-1], keep_SB)
    return jnp.concatenate([forward_SHB, backward_SHB[::-1]], axis=1).transpose(2, 0, 1)


def _attend_and_recur(
    model: RecurrentConfig,
    attention: Params,
    cell: Params,
    embedded_TBD: Array,
    keep_TB: Array | None,
    start: Memory,
    annotations_BSD: Array,
    is_text_BS: Array | None,
) -> tuple[Array, Array]:
    """States and contexts of the decoder's first layer, (T, B, D) each.

    Each step scores every annotation a_j by v^T tanh(W h_t-1 + U a_j); the
    context is their mean, weighted by the scores' softmax. What the scores
    leave behind is computed again on the way back: T times S times D numbers
    would be too many to keep.
    """
    keys_BSD = annotations_BSD @ attention["key"]["kernel"]
    bias_BS = None if is_text_BS is None else jnp.where(is_text_BS, 0.0, FORBIDDEN)
    token_DZ, context_DZ = jnp.split(cell["input"]["kernel"], 2)
    kernel = jnp.concatenate([cell["state"]["kernel"], context_DZ])
    z_TBZ = embedded_TBD @ token_DZ + cell["input"]["bias"]

    def step(memory: Memory, here: tuple) -> tuple[Memory, tuple]:
        z_BZ, keep_B = here
        memory = kept(memory, None if keep_B is None else keep_B[:, None])
        query_BD = memory.h @ attention["query"]["kernel"]
        scores_BS = (jnp.tanh(keys_BSD + query_BD[:, None]) @ attention["score"]).astype(jnp.float32)
        weights_BS = jax.nn.softmax(scores_BS if bias_BS is None else scores_BS + bias_BS)
        context_BD = jnp.einsum("bs,bsd->bd", weights_BS.astype(annotations_BSD.dtype), annotations_BSD)
        read = jnp.concatenate([memory.h, context_BD], axis=-1)
        z_BZ = z_BZ + jnp.matmul(read, kernel, preferred_element_type=jnp.float32)
        memory, _ = advance(model.cell, jnp.split(z_BZ, GATES[model.cell], axis=-1), memory)
        return memory, (memory.h, context_BD)

    return jax.lax.scan(jax.checkpoint(step), start, (z_TBZ, keep_TB))[1]


def _cell(model: RecurrentConfig, fan_in: int, hidden: int, keys: Iterator[Array]) -> Params:
    bias_GH = jnp.zeros((GATES[model.cell], hidden))
    if model.cell == "lstm":
        bias_GH = bias_GH.at[1].set(1.0)  # the forget gate
    maps = {name: _linear(rows, bias_GH.size, keys) for name, rows in (("input", fan_in), ("state", hidden))}
    maps["input"]["bias"] = bias_GH.reshape(-1)
    return maps


def _linear(fan_in: int, fan_out: int, keys: Iterator[Array]) -> Params:
    return {"kernel": fan_in**-0.5 * jax.random.normal(next(keys), (fan_in, fan_out))}
