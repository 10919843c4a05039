"""A transformer: tokens in, states and logits out; decoder, prefix model, encoder, or encoder and decoder.

Letters: B batch, T position, S source position, M = B T, D width, V vocabulary.
"""

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

    def states(self, inputs: Inputs) -> States:
        """The last hidden states of the decoder, or of the encoder where there is no decoder."""
        batch, positions = inputs.tokens_BT.shape
        sight = Sight(inputs.documents_BT, inputs.documents_BT, inputs.prefix_B)
        x_MD = self._embedded(inputs.tokens_BT, inputs.types_BT)
        if self.model.architecture == "encoder":
            x_MD, routing = self.encoder(x_MD, positions, sight)
        elif self.model.architecture == "encoder_decoder":
            source, read = self._source(inputs, positions)
            x_MD, routing = self.decoder(x_MD, positions, sight, source)
            routing = Routing(routing.loss + read.loss, (routing.dropped + read.dropped) / 2)
        else:
            x_MD, routing = self.decoder(x_MD, positions, sight)
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

    def _source(self, inputs: Inputs, positions: int) -> tuple[Source, Routing]:
        batch, keys = inputs.source_BS.shape
        documents_BS = inputs.source_documents_BS
        shared = self.decoder.blocks if self.model.shared_layers else None
        x_MD, routing = self.encoder(
            self._embedded(inputs.source_BS, None), keys, Sight(documents_BS, documents_BS), blocks=shared
        )
        text_BT = None if documents_BS is None else jnp.zeros((batch, positions), documents_BS.dtype)
        return Source(x_MD, keys, Sight(text_BT, documents_BS)), routing

    def _embedded(self, tokens_BT: Array, types_BT: Array | None) -> Array:
        x_MD = self.embedding[...][tokens_BT.reshape(-1)]
        scale = embedding_scale(self.model)
        x_MD = x_MD if scale == 1.0 else x_MD * jnp.asarray(scale, x_MD.dtype)
        if self.types is None:
            return x_MD
        types_M = jnp.zeros(x_MD.shape[0], jnp.int32) if types_BT is None else types_BT.reshape(-1)
        return x_MD + self.types[...][types_M]
