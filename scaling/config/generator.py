"""ELECTRA's generator: the small masked language model whose samples the model tells from the text."""

from dataclasses import replace

from scaling.config.fields import require
from scaling.config.objective import ReplacedTokens
from scaling.config.transformer import TransformerConfig


def generator(model: TransformerConfig, objective: ReplacedTokens) -> TransformerConfig:
    """The generator's shape: as deep as the model, `generator_share` of its width, heads and MLP.

    (Clark et al. 2020, arXiv:2003.10555, section 3.2: a quarter to half of the
    width works best.) The size of a head stays. The width is even, as
    sinusoids need. A generator has no experts. It has no embedding of its
    own: the model's (V, D) is read and, for the logits, written through one
    projection to the generator's width, (D, d); so the shape is always tied.

    Raises ValueError for a model that is no encoder.
    """
    require(
        model.architecture == "encoder",
        f"ELECTRA's generator for architecture={model.architecture!r}",
        "replaced tokens are learned by an encoder",
    )
    share = objective.generator_share
    heads = max(1, round(share * model.heads))
    key_heads = max(1, round(share * model.key_heads))
    return replace(
        model,
        dim=2 * max(1, round(share * model.dim / 2)),
        heads=heads,
        kv_heads=max(count for count in range(1, key_heads + 1) if heads % count == 0),
        head_size=model.head_dim,
        mlp_dim=max(1, round(share * model.hidden_dim)),
        moe=None,
        tied=True,
        sentence_head=False,
    )
