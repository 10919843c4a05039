"""Elements of a transformer's weight matrices: what multiplies a token's vector, layer by layer."""

from dataclasses import dataclass

from scaling.config import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """Elements of the weight matrices of all layers, by use; biases, norms and positions are none."""

    attention: int  # query, key, value and output projections, cross-attention's included
    mlp: int  # experts, shared experts and routers included
    embedding: int
    unembedding: int  # its size, whether or not it is shared with the embedding


def matrices(model: TransformerConfig) -> Matrices:
    """Elements of the weight matrices; layers that encoder and decoder share count once."""
    cross = model.architecture == "encoder_decoder"
    own = encoder_layers(model)
    return Matrices(
        attention=attention(model) * (own + model.depth_of_decoder * (2 if cross else 1)),
        mlp=sum(mlp(model, layer) for depth in (own, model.depth_of_decoder) for layer in range(depth)),
        embedding=model.vocab * model.dim,
        unembedding=model.vocab * model.dim,
    )


def encoder_layers(model: TransformerConfig) -> int:
    """Layers of the encoder that the decoder does not lend it."""
    return 0 if model.shared_layers else model.depth_of_encoder


def attention(model: TransformerConfig) -> int:
    """Query, key, value and output of one attention."""
    return 2 * model.dim * (model.heads + model.key_heads) * model.head_dim


def mlp(model: TransformerConfig, layer: int, *, active: bool = False) -> int:
    """The MLP of a layer, or its experts with their router. active: only what one token visits."""
    own = mlp_of_all(model, layer)
    if not model.has_experts(layer):
        return own
    moe = model.moe
    return own + model.dim * moe.experts + (moe.active if active else moe.experts) * _mlp(model, model.expert_dim)


def mlp_of_all(model: TransformerConfig, layer: int) -> int:
    """What every token visits: the MLP of a layer, or its shared experts."""
    return _mlp(model, model.moe.shared * model.expert_dim if model.has_experts(layer) else model.hidden_dim)


def experts(model: TransformerConfig) -> int:
    """All routed experts of all layers."""
    return _with_experts(model) * model.moe.experts * _mlp(model, model.expert_dim) if model.moe else 0


def routers(model: TransformerConfig) -> int:
    """The routers of all layers."""
    return _with_experts(model) * model.dim * model.moe.experts if model.moe else 0


def _with_experts(model: TransformerConfig) -> int:
    stacks = (encoder_layers(model), model.depth_of_decoder)
    return sum(model.has_experts(layer) for depth in stacks for layer in range(depth))


def _mlp(model: TransformerConfig, width: int) -> int:
    """A gated MLP has three matrices, a plain one two."""
    return (3 if model.gated else 2) * model.dim * width
