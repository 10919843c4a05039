"""Transformers: decoder, prefix language model, encoder, encoder and decoder; one set of options for all."""

from typing import Literal, NamedTuple

from scaling.config.fields import frozen, require, require_positive, strict

GATED = ("swiglu", "geglu")


class Kind(NamedTuple):
    """What sets a layer apart from the others."""

    window: int | None
    experts: bool


@strict
@frozen
class Experts:
    """A mixture of experts in place of an MLP.

    Granularity G (Krajewski et al. 2024, arXiv:2402.07871) is many narrow
    experts: G times as many, `dim` a G-th as wide, G times as many active.
    """

    experts: int
    active: int = 2  # that a token visits
    dim: int | None = None  # width of one expert; None: that of the model's MLP
    shared: int = 0  # experts that every token visits, beside the routed ones
    capacity: float | None = None  # slots of an expert, times tokens * active / experts; None: no token is dropped
    renormalise: bool = True  # weights of the active experts sum to one (Mixtral); False: the router's own (Switch)
    every: int = 1  # every n-th layer has experts, the n-th first; the others an MLP
    balance_loss: float = 0.01  # weight of Switch's load-balance loss (Fedus et al. 2022, eq. 4)
    z_loss: float = 0.001  # weight of the router's z-loss (Zoph et al. 2022, eq. 5)

    def __post_init__(self) -> None:
        require_positive(self, "experts", "active", "dim", "capacity", "every")
        require(
            self.active <= self.experts,
            f"Experts.active={self.active} of experts={self.experts}",
            "a token cannot visit more experts than there are; lower active or raise experts",
        )
        for name in ("shared", "balance_loss", "z_loss"):
            require(getattr(self, name) >= 0, f"Experts.{name}={getattr(self, name)}", "must not be negative")


@strict
@frozen
class RopeScaling:
    """How rotary positions are stretched beyond the context they were trained on.

    linear  positions divided by factor (Chen et al. 2023, arXiv:2306.15595)
    ntk     base multiplied by factor ** (h / (h - 2)), h the head size ("NTK-aware")
    llama3  wavelengths above original_context / low_frequency divided by
            factor, those below original_context / high_frequency kept, a
            linear blend between them (Llama 3.1)
    """

    kind: Literal["linear", "ntk", "llama3"]
    factor: float = 8.0
    low_frequency: float = 1.0  # llama3 only, as the next two
    high_frequency: float = 4.0
    original_context: int = 8192

    def __post_init__(self) -> None:
        require(self.factor >= 1, f"RopeScaling.factor={self.factor}", "must be at least 1")
        require(
            0 < self.low_frequency < self.high_frequency,
            f"RopeScaling.low_frequency={self.low_frequency}, high_frequency={self.high_frequency}",
            "give 0 < low_frequency < high_frequency",
        )
        require_positive(self, "original_context")


@strict
@frozen
class Parametrisation:
    """How initialisation, learning rates and multipliers change with width and depth; see `models.parametrisation`."""

    width: Literal["standard", "mup"] = "standard"
    depth: Literal["standard", "sqrt", "complete"] = "standard"  # residual branches times 1, L^-1/2 or L^-1
    base_dim: int = 64  # the width, and
    base_layers: int = 2  # the depth, at which learning rates were chosen

    def __post_init__(self) -> None:
        require_positive(self, "base_dim", "base_layers")


@strict
@frozen
class TransformerConfig:
    """A transformer. The defaults are those of a small LLaMA."""

    vocab: int  # rows of the embedding: the tokenizer's size and its special tokens
    dim: int  # residual width
    layers: int  # of the encoder in an encoder; else of the decoder
    heads: int  # query heads
    context: int = 128  # the longest sequence of either side, tokens

    # what it is
    architecture: Literal["decoder", "prefix", "encoder", "encoder_decoder"] = "decoder"
    encoder_layers: int | None = None  # encoder_decoder only; None: as many as layers
    shared_layers: bool = False  # encoder_decoder only: encoder and decoder are the same weights

    # attention
    kv_heads: int | None = None  # key and value heads; None: as many as heads
    head_size: int | None = None  # None: dim / heads
    attention_scale: float | None = None  # of the scores; None: 1/sqrt(head size), or muP's
    attention_softcap: float | None = None  # scores -> cap * tanh(scores / cap)
    qk_norm: bool = False  # RMSNorm of queries and keys, per head
    qkv_biases: bool = False  # in the maps to queries, keys and values, without `biases` elsewhere
    window: int | None = None  # tokens that a token sees backwards, itself included; and, in an encoder, forwards
    global_every: int | None = None  # with window: every n-th layer, the n-th first, sees everything

    # positions
    positions: Literal["rope", "learned", "sinusoidal", "t5", "alibi", "none"] = "rope"
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    position_buckets: int = 32  # t5 only, as the next
    position_distance: int = 128  # from where on all distances share a bucket

    # MLP
    mlp_dim: int | None = None  # None: 4 dim, or 8/3 dim up to a multiple of 8 (swiglu, geglu)
    activation: Literal["gelu", "gelu_exact", "relu", "swiglu", "geglu"] = "swiglu"  # gelu: the tanh form
    moe: Experts | None = None

    # residual stream
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_place: Literal["pre", "post", "sandwich"] = "pre"  # before a branch, after its sum, or before and after it
    norm_eps: float = 1e-6
    biases: bool = False  # in every linear map and layernorm
    embedding_scale: float | None = None  # of the embeddings; None: 1, or sqrt(dim) with sinusoidal positions
    embedding_norm: bool = False
    token_types: int = 0  # embeddings for the parts of a pair of texts

    # head
    tied: bool = True  # head shares the embedding matrix
    logit_scale: float | None = None  # of the states before the head; None: 1, or muP's
    logit_softcap: float | None = None  # logits -> cap * tanh(logits / cap)
    head_transform: bool = False  # a linear map, the activation and a norm before the head
    head_bias: bool = False  # of the logits
    sentence_head: bool = False  # tanh pooler of the first state and two logits: is the second text the next one?

    # how weights begin and learn
    init: Literal["fan_in", "normal", "t5"] = "fan_in"  # see `models.parametrisation`
    parametrisation: Parametrisation = Parametrisation()

    def __post_init__(self) -> None:
        require_positive(self, "vocab", "dim", "layers", "heads", "context", "encoder_layers", "kv_heads", "head_size")
        require_positive(self, "mlp_dim", "window", "global_every", "attention_scale", "attention_softcap")
        require_positive(self, "norm_eps", "embedding_scale", "logit_scale", "logit_softcap")
        require(self.rope_base > 1, f"TransformerConfig.rope_base={self.rope_base}", "must be above 1")
        self._check_heads()
        self._check_positions()
        self._check_architecture()

    def _check_heads(self) -> None:
        require(
            self.head_size is not None or self.dim % self.heads == 0,
            f"TransformerConfig.heads={self.heads} does not divide dim={self.dim}",
            f"choose a divisor of {self.dim}, or give head_size",
        )
        require(
            self.heads % self.key_heads == 0,
            f"TransformerConfig.kv_heads={self.kv_heads} does not divide heads={self.heads}",
            f"choose a divisor of {self.heads}",
        )
        require(
            self.global_every is None or self.window is not None,
            f"TransformerConfig.global_every={self.global_every} without a window",
            "give window, or leave global_every out: all layers are global",
        )
        require(
            self.moe is None or self.moe.every <= self.layers,
            f"TransformerConfig.moe.every={self.moe and self.moe.every} with layers={self.layers}",
            "no layer would have experts; lower moe.every",
        )

    def _check_positions(self) -> None:
        require(
            self.positions != "rope" or self.head_dim % 2 == 0,
            f"TransformerConfig: rope rotates pairs, but the head size is {self.head_dim}, odd",
            "choose heads so that dim/heads is even, or another value of positions",
        )
        require(
            self.positions != "sinusoidal" or self.dim % 2 == 0,
            f"TransformerConfig: sinusoidal positions need an even dim, not {self.dim}",
            "choose an even dim",
        )
        require(
            self.rope_scaling is None or self.positions == "rope",
            f"TransformerConfig.rope_scaling with positions={self.positions!r}",
            "rope_scaling belongs to positions='rope'",
        )
        require(
            self.position_buckets >= 4
            and self.position_buckets % 2 == 0
            and self.position_distance > self.position_buckets // 2,
            f"TransformerConfig.position_buckets={self.position_buckets}, position_distance={self.position_distance}",
            "give an even number of at least 4 buckets, and a distance above half of it",
        )
        require(self.token_types >= 0, f"TransformerConfig.token_types={self.token_types}", "must not be negative")

    def _check_architecture(self) -> None:
        both = self.architecture == "encoder_decoder"
        require(
            both or (self.encoder_layers is None and not self.shared_layers),
            f"TransformerConfig.architecture={self.architecture!r} with encoder_layers or shared_layers",
            "these belong to architecture='encoder_decoder'",
        )
        require(
            not self.shared_layers or self.depth_of_encoder == self.layers,
            f"TransformerConfig.shared_layers with encoder_layers={self.encoder_layers}, layers={self.layers}",
            "shared layers are the same on both sides; leave encoder_layers out",
        )
        require(
            not self.sentence_head or self.architecture == "encoder",
            f"TransformerConfig.sentence_head with architecture={self.architecture!r}",
            "only an encoder has one",
        )

    @property
    def head_dim(self) -> int:
        return self.head_size or self.dim // self.heads

    @property
    def key_heads(self) -> int:
        return self.kv_heads or self.heads

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies two maps (Shazeer 2020, arXiv:2002.05202)."""
        return self.activation in GATED

    @property
    def hidden_dim(self) -> int:
        """Width of the MLP. 8/3 keeps a gated MLP's parameters at the plain one's 8 dim^2 (Shazeer 2020)."""
        if self.mlp_dim is not None:
            return self.mlp_dim
        return -(-8 * self.dim // 3 // 8) * 8 if self.gated else 4 * self.dim

    @property
    def expert_dim(self) -> int:
        """Width of one expert; of the MLP where there is none."""
        return self.moe.dim or self.hidden_dim if self.moe else self.hidden_dim

    @property
    def depth_of_encoder(self) -> int:
        """Layers that read the source (encoder_decoder), or all layers of an encoder; 0 in a decoder."""
        return {"encoder": self.layers, "encoder_decoder": self.encoder_layers or self.layers}.get(self.architecture, 0)

    @property
    def depth_of_decoder(self) -> int:
        return 0 if self.architecture == "encoder" else self.layers

    def window_of(self, layer: int) -> int | None:
        """The window of a layer, counted from 0; None where it sees everything."""
        everything = self.global_every is not None and (layer + 1) % self.global_every == 0
        return None if everything else self.window

    def has_experts(self, layer: int) -> bool:
        return self.moe is not None and (layer + 1) % self.moe.every == 0

    def period(self, layers: int) -> tuple[Kind, ...]:
        """The kinds of one period of so many layers: the shortest that, repeated, gives them all."""
        every = tuple(Kind(self.window_of(layer), self.has_experts(layer)) for layer in range(layers))
        for length in range(1, layers + 1):
            if layers % length == 0 and every == every[:length] * (layers // length):
                return every[:length]
        return ()
