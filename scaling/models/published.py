"""Shapes of published models: `published("llama-3-8b")`.

What a shape says is what the paper or the released configuration says;
`tests/models/test_published.py` holds the published parameter counts beside
it. Where an option is missing here, the comment says so and what it changes.
No JAX: only configs are built.
"""

import difflib
from functools import cache

from scaling.config import Experts, RopeScaling, TransformerConfig


def published(name: str) -> TransformerConfig:
    """The shape of a published model. Raises ValueError for a name that `names` does not list."""
    shapes = _shapes()
    if name not in shapes:
        near = difflib.get_close_matches(name.lower(), shapes, n=3, cutoff=0.4)
        hint = f"perhaps {' or '.join(near)}" if near else f"known are {', '.join(shapes)}"
        raise ValueError(f"no published model is called {name!r}: {hint}")
    return shapes[name]


def names() -> tuple[str, ...]:
    """Every name that `published` knows, family by family."""
    return tuple(_shapes())


@cache
def _shapes() -> dict[str, TransformerConfig]:
    families = (_original, _gpt, _gpt3, _bert, _t5, _t5_v11, _switch, _bart, _chinchilla, _pythia)
    later = (_llama, _qwen3, _gemma2, _mixtral)
    return {name: shape for family in (*families, *later) for name, shape in family().items()}


def _original() -> dict[str, TransformerConfig]:
    """Vaswani et al. 2017, arXiv:1706.03762, table 3, English to German. Its sequences have no longest length."""

    def shape(dim: int, heads: int, mlp_dim: int) -> TransformerConfig:
        return TransformerConfig(
            architecture="encoder_decoder",
            vocab=37_000,  # "about 37000 tokens", section 5.1
            context=512,
            dim=dim,
            layers=6,
            heads=heads,
            mlp_dim=mlp_dim,
            activation="relu",
            norm="layernorm",
            norm_place="post",
            positions="sinusoidal",
            biases=True,
        )

    return {"transformer-base": shape(512, 8, 2048), "transformer-big": shape(1024, 16, 4096)}


def _gpt_like(vocab: int, context: int, dim: int, layers: int, heads: int, **options) -> TransformerConfig:
    common = {"activation": "gelu", "norm": "layernorm", "norm_eps": 1e-5, "positions": "learned", "biases": True}
    return TransformerConfig(
        vocab=vocab, context=context, dim=dim, layers=layers, heads=heads, init="normal", **common | options
    )


def _gpt() -> dict[str, TransformerConfig]:
    """Radford et al. 2018 and 2019, and their released configurations."""
    sizes = {"": (768, 12, 12), "-medium": (1024, 24, 16), "-large": (1280, 36, 20), "-xl": (1600, 48, 25)}
    second = {f"gpt-2{size}": _gpt_like(50_257, 1024, *shape) for size, shape in sizes.items()}
    return {"gpt-1": _gpt_like(40_478, 512, 768, 12, 12, norm_place="post")} | second


def _gpt3() -> dict[str, TransformerConfig]:
    """Brown et al. 2020, arXiv:2005.14165, table 2.1.

    Two of its entries contradict the rest: 24 heads of 128 in a width of 2048
    (XL; 16 here), and a width of 5140 with 40 heads of 128 (13B; 5120 here).
    Dense and banded layers alternate, but the band's width is not printed: 128
    is the Sparse Transformer's stride on text (arXiv:1904.10509, section 7.2).
    Neither changes a parameter count by more than 1%.
    """
    sizes = {
        "125m": (768, 12, 12),
        "350m": (1024, 24, 16),
        "760m": (1536, 24, 16),
        "1.3b": (2048, 24, 16),
        "2.7b": (2560, 32, 32),
        "6.7b": (4096, 32, 32),
        "13b": (5120, 40, 40),
        "175b": (12288, 96, 96),
    }
    return {
        f"gpt-3-{size}": _gpt_like(50_257, 2048, *shape, window=128, global_every=2) for size, shape in sizes.items()
    }


def _bert() -> dict[str, TransformerConfig]:
    """Devlin et al. 2019, arXiv:1810.04805, uncased; Liu et al. 2019, arXiv:1907.11692, which drops types and pairs."""
    sizes = {"base": (768, 12, 12), "large": (1024, 24, 16)}
    common = {
        "architecture": "encoder",
        "activation": "gelu_exact",
        "norm_place": "post",
        "embedding_norm": True,
        "head_transform": True,
        "head_bias": True,
    }
    pairs = {"token_types": 2, "sentence_head": True, "norm_eps": 1e-12}
    bert = {f"bert-{size}": _gpt_like(30_522, 512, *shape, **common | pairs) for size, shape in sizes.items()}
    return bert | {f"roberta-{size}": _gpt_like(50_265, 512, *shape, **common) for size, shape in sizes.items()}


def _t5_like(dim: int, layers: int, heads: int, mlp_dim: int, head_size: int = 64, **options) -> TransformerConfig:
    return TransformerConfig(
        architecture="encoder_decoder",
        vocab=32_128,
        context=512,
        dim=dim,
        layers=layers,
        heads=heads,
        head_size=head_size,
        mlp_dim=mlp_dim,
        positions="t5",
        attention_scale=1.0,
        init="t5",
        **options,
    )


def _t5() -> dict[str, TransformerConfig]:
    """Raffel et al. 2020, arXiv:1910.10683, section 3.7."""
    sizes = {
        "small": (512, 6, 8, 2048),
        "base": (768, 12, 12, 3072),
        "large": (1024, 24, 16, 4096),
        "3b": (1024, 24, 32, 16_384, 128),
        "11b": (1024, 24, 128, 65_536, 128),
    }
    return {
        f"t5-{size}": _t5_like(*shape, activation="relu", logit_scale=shape[0] ** -0.5) for size, shape in sizes.items()
    }


_V11 = {"activation": "geglu", "tied": False}  # what T5 v1.1 changes


def _t5_v11() -> dict[str, TransformerConfig]:
    """T5 v1.1, the released configurations."""
    sizes = {
        "small": (512, 8, 6, 1024),
        "base": (768, 12, 12, 2048),
        "large": (1024, 24, 16, 2816),
        "xl": (2048, 24, 32, 5120),
        "xxl": (4096, 24, 64, 10_240),
    }
    return {f"t5-v1.1-{size}": _t5_like(*shape, **_V11) for size, shape in sizes.items()}


def _switch() -> dict[str, TransformerConfig]:
    """Fedus et al. 2022, arXiv:2101.03961, table 9: one expert a token."""

    def experts(count: int, every: int) -> Experts:
        return Experts(experts=count, active=1, every=every, renormalise=False, capacity=1.25)

    return {
        "switch-base": _t5_like(768, 12, 12, 2048, moe=experts(128, 2), **_V11),
        "switch-large": _t5_like(1024, 24, 16, 2816, moe=experts(128, 2), **_V11),
        "switch-c": _t5_like(2080, 15, 32, 6144, moe=experts(2048, 1), activation="relu", tied=False),
    }


def _bart() -> dict[str, TransformerConfig]:
    """Lewis et al. 2020, arXiv:1910.13461, and the released configurations."""
    sizes = {"base": (768, 6, 12), "large": (1024, 12, 16)}
    common = {
        "architecture": "encoder_decoder",
        "activation": "gelu_exact",
        "norm_place": "post",
        "embedding_norm": True,
    }
    return {f"bart-{size}": _gpt_like(50_265, 1024, *shape, **common) for size, shape in sizes.items()}


# Hoffmann et al. 2022, arXiv:2203.15556, table A9: millions of parameters, width, size and number of heads, layers.
# fmt: off
_TABLE_A9 = (
    (44, 512, 64, 8, 8), (57, 576, 64, 9, 9), (74, 640, 64, 10, 10), (90, 640, 64, 10, 13), (106, 640, 64, 10, 16),
    (117, 768, 64, 12, 12), (140, 768, 64, 12, 15), (163, 768, 64, 12, 18), (175, 896, 64, 14, 14),
    (196, 896, 64, 14, 16), (217, 896, 64, 14, 18), (251, 1024, 64, 16, 16), (278, 1024, 64, 16, 18),
    (306, 1024, 64, 16, 20), (425, 1280, 128, 10, 18), (489, 1280, 128, 10, 21), (509, 1408, 128, 11, 18),
    (552, 1280, 128, 10, 24), (587, 1408, 128, 11, 21), (632, 1536, 128, 12, 19), (664, 1408, 128, 11, 24),
    (724, 1536, 128, 12, 22), (816, 1536, 128, 12, 25), (893, 1792, 128, 14, 20), (1018, 1792, 128, 14, 23),
    (1143, 1792, 128, 14, 26), (1266, 2048, 128, 16, 22), (1424, 2176, 128, 17, 22), (1429, 2048, 128, 16, 25),
    (1593, 2048, 128, 16, 28), (1609, 2176, 128, 17, 25), (1731, 2304, 128, 18, 24), (1794, 2176, 128, 17, 28),
    (2007, 2304, 128, 18, 28), (2283, 2304, 128, 18, 32), (2298, 2560, 128, 20, 26), (2639, 2560, 128, 20, 30),
    (2980, 2560, 128, 20, 34), (3530, 2688, 128, 22, 36), (3802, 2816, 128, 22, 36), (4084, 2944, 128, 22, 36),
    (4516, 3072, 128, 24, 36), (6796, 3584, 128, 28, 40), (9293, 4096, 128, 32, 42), (11452, 4352, 128, 32, 47),
    (12295, 4608, 128, 36, 44), (12569, 4608, 128, 32, 47), (13735, 4864, 128, 32, 47), (14940, 4992, 128, 32, 49),
    (16183, 5120, 128, 40, 47),
)
# fmt: on


def _chinchilla() -> dict[str, TransformerConfig]:
    """The 50 models of table A9 by their millions of parameters, and the two of table 4.

    Theirs have Transformer-XL's relative positions, which are no option here:
    a matrix a layer, as large as that of the keys. Rotary ones stand in. That
    the linear maps have biases is not written there: with them, and only with
    them, all 50 counts come out to the printed million.
    """

    def shape(dim: int, head_size: int, heads: int, layers: int) -> TransformerConfig:
        return TransformerConfig(
            vocab=32_000,
            context=2048,
            dim=dim,
            layers=layers,
            heads=heads,
            head_size=head_size,
            activation="gelu",
            biases=True,
        )

    table = {f"chinchilla-{millions}m": shape(*row) for millions, *row in _TABLE_A9}
    return table | {"chinchilla-70b": shape(8192, 128, 64, 80), "gopher-280b": shape(16_384, 128, 128, 80)}


def _pythia() -> dict[str, TransformerConfig]:
    """Biderman et al. 2023, arXiv:2304.01373, table 1, with the released vocabularies.

    Theirs compute attention and MLP side by side and rotate a quarter of each
    head; neither is an option here, and neither changes a count.
    """
    sizes = {
        "70m": (50_304, 512, 6, 8),
        "160m": (50_304, 768, 12, 12),
        "410m": (50_304, 1024, 24, 16),
        "1b": (50_304, 2048, 16, 8),
        "1.4b": (50_304, 2048, 24, 16),
        "2.8b": (50_304, 2560, 32, 32),
        "6.9b": (50_432, 4096, 32, 32),
        "12b": (50_688, 5120, 36, 40),
    }
    options = {"activation": "gelu_exact", "positions": "rope", "tied": False}
    return {f"pythia-{size}": _gpt_like(vocab, 2048, *shape, **options) for size, (vocab, *shape) in sizes.items()}


def _llama_like(dim: int, layers: int, heads: int, mlp_dim: int, **options) -> TransformerConfig:
    common = {"vocab": 32_000, "tied": False, "norm_eps": 1e-5}
    return TransformerConfig(dim=dim, layers=layers, heads=heads, mlp_dim=mlp_dim, **common | options)


def _llama() -> dict[str, TransformerConfig]:
    """Touvron et al. 2023, arXiv:2302.13971, table 2, and arXiv:2307.09288; Dubey et al. 2024, arXiv:2407.21783."""
    first = {
        "7b": (4096, 32, 32, 11_008),
        "13b": (5120, 40, 40, 13_824),
        "33b": (6656, 60, 52, 17_920),
        "65b": (8192, 80, 64, 22_016),
    }
    third = {"vocab": 128_256, "context": 8192, "kv_heads": 8, "rope_base": 500_000.0}
    longer = {"context": 131_072, "rope_scaling": RopeScaling(kind="llama3")}  # the 405B exists as Llama 3.1 only
    shapes = {f"llama-{size}": _llama_like(*shape, context=2048, norm_eps=1e-6) for size, shape in first.items()}
    shapes |= {f"llama-2-{size}": _llama_like(*first[size], context=4096) for size in ("7b", "13b")}
    return shapes | {
        "llama-2-70b": _llama_like(8192, 80, 64, 28_672, context=4096, kv_heads=8),
        "llama-3-8b": _llama_like(4096, 32, 32, 14_336, **third),
        "llama-3-70b": _llama_like(8192, 80, 64, 28_672, **third),
        "llama-3-405b": _llama_like(16_384, 126, 128, 53_248, **third | longer),
    }


def _qwen3() -> dict[str, TransformerConfig]:
    """Yang et al. 2025, arXiv:2505.09388, table 1, and the released configurations."""
    sizes = {
        "0.6b": (1024, 28, 16, 3072),
        "1.7b": (2048, 28, 16, 6144),
        "4b": (2560, 36, 32, 9728),
        "8b": (4096, 36, 32, 12_288),
        "14b": (5120, 40, 40, 17_408),
        "32b": (5120, 64, 64, 25_600),
    }
    common = {"vocab": 151_936, "context": 40_960, "kv_heads": 8, "head_size": 128, "qk_norm": True, "norm_eps": 1e-6}
    return {
        f"qwen3-{size}": _llama_like(*shape, **common, rope_base=1e6, tied=size in ("0.6b", "1.7b", "4b"))
        for size, shape in sizes.items()
    }


def _gemma2() -> dict[str, TransformerConfig]:
    """Gemma Team 2024, arXiv:2408.00118, table 1, and the released configurations."""

    def shape(dim: int, layers: int, heads: int, mlp_dim: int, head_size: int, scale: int) -> TransformerConfig:
        return TransformerConfig(
            vocab=256_000,
            context=8192,
            dim=dim,
            layers=layers,
            heads=heads,
            kv_heads=heads // 2,
            head_size=head_size,
            mlp_dim=mlp_dim,
            activation="geglu",
            norm_place="sandwich",
            window=4096,
            global_every=2,
            attention_scale=scale**-0.5,
            attention_softcap=50.0,
            logit_softcap=30.0,
            embedding_scale=dim**0.5,
        )

    return {
        "gemma-2-2b": shape(2304, 26, 8, 9216, 256, 256),
        "gemma-2-9b": shape(3584, 42, 16, 14_336, 256, 256),
        "gemma-2-27b": shape(4608, 46, 32, 36_864, 128, 144),
    }


def _mixtral() -> dict[str, TransformerConfig]:
    """Jiang et al. 2024, arXiv:2401.04088, table 1."""
    moe = Experts(experts=8, active=2)
    return {
        "mixtral-8x7b": _llama_like(4096, 32, 32, 14_336, context=32_768, kv_heads=8, rope_base=1e6, moe=moe),
    }
