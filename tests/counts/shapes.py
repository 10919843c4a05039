"""Models that several tests of counting share."""

from hypothesis import settings
from hypothesis import strategies as st

from scaling.config import (
    Experts,
    Masked,
    NextToken,
    ObjectiveConfig,
    Prefix,
    SpanCorruption,
    TransformerConfig,
)

GPT2 = TransformerConfig(
    vocab=50257,
    context=1024,
    dim=768,
    layers=12,
    heads=12,
    activation="gelu",
    norm="layernorm",
    positions="learned",
    biases=True,
)
SMALL = TransformerConfig(vocab=512, dim=64, layers=4, heads=4)

examples = settings(derandomize=True, deadline=None, max_examples=60)  # the same cases every time


@st.composite
def decoders(draw: st.DrawFn) -> TransformerConfig:
    """Dense decoders without windows, at small sizes."""
    key_heads, group = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    heads = key_heads * group
    return TransformerConfig(
        vocab=draw(st.integers(2, 999)),
        dim=heads * 2 * draw(st.integers(1, 9)),
        layers=draw(st.integers(1, 6)),
        heads=heads,
        kv_heads=key_heads,
        context=draw(st.integers(1, 300)),
        mlp_dim=draw(st.none() | st.integers(1, 300)),
        activation=draw(st.sampled_from(["gelu", "swiglu"])),
        norm=draw(st.sampled_from(["rmsnorm", "layernorm"])),
        positions=draw(st.sampled_from(["rope", "learned", "sinusoidal"])),
        tied=draw(st.booleans()),
        biases=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
    )


@st.composite
def transformers(draw: st.DrawFn) -> TransformerConfig:
    """Every architecture and option that bears on what is held or computed, at small sizes."""
    architecture = draw(st.sampled_from(["decoder", "prefix", "encoder", "encoder_decoder"]))
    key_heads, layers = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    both = architecture == "encoder_decoder"
    shared = both and draw(st.booleans())
    moe = Experts(
        experts=draw(st.integers(2, 5)),
        active=draw(st.integers(1, 2)),
        dim=draw(st.none() | st.integers(1, 9)),
        shared=draw(st.integers(0, 2)),
        every=draw(st.integers(1, layers)),
    )
    window = draw(st.none() | st.integers(1, 20))
    return TransformerConfig(
        architecture=architecture,
        vocab=draw(st.integers(2, 99)),
        dim=2 * draw(st.integers(1, 9)),
        layers=layers,
        encoder_layers=draw(st.none() | st.integers(1, 4)) if both and not shared else None,
        shared_layers=shared,
        heads=key_heads * draw(st.integers(1, 3)),
        kv_heads=key_heads,
        head_size=2 * draw(st.integers(1, 5)),
        context=draw(st.integers(8, 40)),
        mlp_dim=draw(st.none() | st.integers(1, 30)),
        activation=draw(st.sampled_from(["gelu", "gelu_exact", "relu", "swiglu", "geglu"])),
        norm=draw(st.sampled_from(["rmsnorm", "layernorm"])),
        norm_place=draw(st.sampled_from(["pre", "post", "sandwich"])),
        positions=draw(st.sampled_from(["rope", "learned", "sinusoidal", "t5", "alibi", "none"])),
        window=window,
        global_every=draw(st.none() | st.integers(1, 3)) if window else None,
        attention_softcap=draw(st.none() | st.just(50.0)),
        tied=draw(st.booleans()),
        biases=draw(st.booleans()),
        qkv_biases=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        embedding_norm=draw(st.booleans()),
        token_types=draw(st.integers(0, 2)),
        head_transform=draw(st.booleans()),
        head_bias=draw(st.booleans()),
        sentence_head=architecture == "encoder" and draw(st.booleans()),
        moe=draw(st.none() | st.just(moe)),
    )


def objective_for(model: TransformerConfig) -> ObjectiveConfig:
    """One that the model can learn."""
    return {"decoder": NextToken(), "prefix": Prefix(), "encoder": Masked(), "encoder_decoder": SpanCorruption()}[
        model.architecture
    ]


BASE = {"vocab": 512, "dim": 256, "layers": 6, "heads": 4, "context": 128}
BERT_LIKE = {
    "activation": "gelu",
    "norm": "layernorm",
    "norm_place": "post",
    "positions": "learned",
    "biases": True,
    "embedding_norm": True,
}
