"""A transformer: tokens in, states and logits out; decoder, prefix model, encoder, or encoder and decoder.

Letters: B batch, T position, S source position, M = B T, D width, V vocabulary.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import TransformerConfig
from scaling.models.head import softcapped, unembed
from scaling.models.inputs import Inputs, Routing, States
from scaling.models.layers import activate, block_norm, linear, table
from scaling.models.parametrisation import embedding_scale, logit_scale
from scaling.models.sight import Sight
from scaling.models.stack import Source, Stack
from scaling.parallel.collectives import gather_rows, my_rows, place, scatter_rows, total
from scaling.parallel.context import my_places
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.pipeline import each_part, in_parts, joined


class HeadTransform(nnx.Module):
    """A linear map, the activation and a norm before the head (Devlin et al. 2019's released code)."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        self.linear = linear(model, "hidden", model.dim, model.dim, rngs)
        self.norm = block_norm(model)
        self.model = model

    def __call__(self, x_MD: Array) -> Array:
        return self.norm(activate(self.model, self.linear(x_MD), None))


class SentenceHead(nnx.Module):
    """From the first state of a pair of texts to two logits: the second is the next text, or is not."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        self.pool = linear(model, "hidden", model.dim, model.dim, rngs, bias=True)
        self.out = linear(model, "readout", model.dim, 2, rngs, bias=True)

    def __call__(self, x_BTD: Array) -> Array:
        return self.out(jnp.tanh(self.pool(x_BTD[:, 0]))).astype(jnp.float32)


class Transformer(nnx.Module):
    """All parameters of a model; see `config.TransformerConfig` for its options."""

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        self.model = model
        both = model.architecture == "encoder_decoder"
        self.embedding = table(model, "embedding", model.vocab, model.dim, rngs)
        self.types = table(model, "positions", model.token_types, model.dim, rngs) if model.token_types else None
        if model.depth_of_encoder:
            own = 0 if model.shared_layers else model.depth_of_encoder
            self.encoder = Stack(model, rngs, layers=own, causal=False, cross=False)
        if model.depth_of_decoder:
            self.decoder = Stack(model, rngs, layers=model.layers, causal=True, cross=both)
        self.head = None if model.tied else table(model, "output", model.vocab, model.dim, rngs)
        self.head_transform = HeadTransform(model, rngs) if model.head_transform else None
        self.head_bias = nnx.Param(jnp.zeros(model.vocab)) if model.head_bias else None
        self.sentence_head = SentenceHead(model, rngs) if model.sentence_head else None

    def states(self, inputs: Inputs, layout: Layout = ALONE) -> States:
        """The last hidden states of the decoder, or of the encoder where there is no decoder, of all tokens."""
        batch, positions = inputs.tokens_BT.shape
        if layout.pipe > 1:
            inputs = jax.tree.map(partial(in_parts, layout=layout), inputs)
        sight = Sight(inputs.documents_BT, inputs.documents_BT, inputs.prefix_B)
        place_T = my_places(positions, layout)
        x_MD = self.embedded(inputs.tokens_BT, inputs.types_BT, layout)
        if self.model.architecture == "encoder":
            x_MD, routing = self.encoder(x_MD, positions, sight, layout=layout, place_T=place_T)
        elif self.model.architecture == "encoder_decoder":
            source, read = self._source(inputs, layout)
            x_MD, routing = self.decoder(x_MD, positions, sight, source, layout=layout, place_T=place_T)
            routing = Routing(routing.loss + read.loss, (routing.dropped + read.dropped) / 2)
        else:
            x_MD, routing = self.decoder(x_MD, positions, sight, layout=layout, place_T=place_T)
        x_MD = each_part(partial(gather_rows, layout=layout), layout)(x_MD)
        if layout.pipe > 1:
            x_ABTD = x_MD.reshape(layout.microbatches, -1, positions, x_MD.shape[-1])
            return States(joined(x_ABTD), routing)
        return States(x_MD.reshape(batch, positions, -1), routing)

    def logits(self, x_MD: Array) -> Array:
        """Logits (M, V) of some of the states, float32."""
        if self.head_transform is not None:
            x_MD = self.head_transform(x_MD)
        # Here and not before a transform, whose norm would undo it.
        scale = logit_scale(self.model)
        x_MD = x_MD if scale == 1.0 else x_MD * scale
        head_VD = self.embedding if self.head is None else self.head
        logits_MV = unembed(x_MD, head_VD[...])
        if self.head_bias is not None:
            logits_MV = logits_MV + self.head_bias[...].astype(jnp.float32)
        return softcapped(logits_MV, self.model.logit_softcap)

    def sentence_logits(self, x_BTD: Array) -> Array:
        """Logits (B, 2), float32: the second text follows the first; it does not."""
        return self.sentence_head(x_BTD)

    def _source(self, inputs: Inputs, layout: Layout) -> tuple[Source, Routing]:
        keys = inputs.source_BS.shape[-1]
        documents_BS = inputs.source_documents_BS
        x_MD, routing = self.encoder(
            self.embedded(inputs.source_BS, None, layout),
            keys,
            Sight(documents_BS, documents_BS),
            blocks=self.decoder.blocks if self.model.shared_layers else None,
            layout=layout,
            place_T=my_places(keys, layout),
        )
        # Once and not in every layer: all of them read the same tokens.
        x_MD = each_part(partial(gather_rows, layout=layout), layout)(x_MD)
        text_BT = None if documents_BS is None else jnp.zeros(inputs.tokens_BT.shape, documents_BS.dtype)
        return Source(x_MD, keys, Sight(text_BT, documents_BS)), routing

    def embedded(self, tokens_BT: Array, types_BT: Array | None, layout: Layout = ALONE) -> Array:
        """Embeddings of this device's tokens, (M, D); in a pipeline of all microbatches, (A, M, D)."""
        if self.types is not None and types_BT is None:
            types_BT = jnp.zeros_like(tokens_BT)
        return each_part(partial(self._embedded_part, layout=layout), layout)(tokens_BT, types_BT)

    def _embedded_part(self, tokens_BT: Array, types_BT: Array | None, layout: Layout) -> Array:
        x_MD = look_up(self.embedding[...], tokens_BT.reshape(-1), layout)
        scale = embedding_scale(self.model)
        x_MD = x_MD if scale == 1.0 else x_MD * jnp.asarray(scale, x_MD.dtype)
        if self.types is None:
            return x_MD
        return x_MD + self.types[...][my_rows(types_BT.reshape(-1), layout)]


def look_up(table_VD: Array, tokens_M: Array, layout: Layout) -> Array:
    """Rows of a table of which each device of `pipe` and `tensor` holds a part; of this device's tokens."""
    if layout.ways("pipe", "tensor") == 1:
        return table_VD[tokens_M]
    first = place(("pipe", "tensor"), layout) * table_VD.shape[0]
    mine_M = (tokens_M >= first) & (tokens_M < first + table_VD.shape[0])
    found_MD = jnp.where(mine_M[:, None], table_VD[jnp.where(mine_M, tokens_M - first, 0)], 0)
    return total(scatter_rows(found_MD, layout), ("pipe",), layout)
