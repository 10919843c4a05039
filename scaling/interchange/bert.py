"""BERT and RoBERTa: one encoder, two files. RoBERTa counts positions from the padding token's id on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.config import TransformerConfig
from scaling.interchange.architecture import Architecture
from scaling.interchange.fields import PLAIN, PLAIN_NAMES, Fields, chosen, refuse, unless
from scaling.interchange.rules import Layer, Leaf, Rule, Stacks, after_rows, copied, layer_norm, linear, whole

SHAPE = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "tie_word_embeddings": True,
}
FIXED = {"position_embedding_type": ("absolute",)}
BUFFERS = (r"(.*\.)?embeddings\.(position|token_type)_ids",)
ROBERTA_PAD = 1  # their default


def _read(fields: Fields, context: int, **options: Any) -> TransformerConfig:
    return TransformerConfig(
        architecture="encoder",
        vocab=fields["vocab_size"],
        dim=fields["hidden_size"],
        layers=fields["num_hidden_layers"],
        heads=fields["num_attention_heads"],
        context=context,
        positions="learned",
        mlp_dim=unless(fields["intermediate_size"], 4 * fields["hidden_size"]),
        activation=chosen("hidden_act", fields["hidden_act"], PLAIN),
        norm="layernorm",
        norm_place="post",
        norm_eps=fields["layer_norm_eps"],
        biases=True,
        embedding_norm=True,
        token_types=fields["type_vocab_size"],
        tied=fields["tied"],
        head_transform=True,
        head_bias=True,
        init="normal",
        **options,
    )


def _read_bert(fields: Fields) -> TransformerConfig:
    return _read(fields, fields["max_position_embeddings"], sentence_head=fields["sentence_head"])


def _read_roberta(fields: Fields) -> TransformerConfig:
    if PLAIN.get(fields["hidden_act"]) != "gelu_exact":
        refuse("hidden_act", fields["hidden_act"], "its head always has the exact gelu, and ours has the layers' own")
    return _read(fields, fields["max_position_embeddings"] - _offset(fields))


def _offset(fields: Fields) -> int:
    """Rows before the first position's."""
    pad = fields["pad_token_id"]
    return (ROBERTA_PAD if pad is None else pad) + 1


def _write(model: TransformerConfig) -> Fields:
    return {
        "vocab_size": model.vocab,
        "hidden_size": model.dim,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.hidden_dim,
        "hidden_act": PLAIN_NAMES.get(model.activation, "gelu"),
        "max_position_embeddings": model.context,
        "type_vocab_size": model.token_types,
        "layer_norm_eps": model.norm_eps,
        "tie_word_embeddings": model.tied,
    }


def _write_bert(model: TransformerConfig) -> Fields:
    classes = ["BertForPreTraining" if model.sentence_head else "BertForMaskedLM"]
    return _write(model) | {"architectures": classes, "sentence_head": model.sentence_head}


def _write_roberta(model: TransformerConfig) -> Fields:
    return _keep_pad(_write(model), {})


def _keep_pad(fields: Fields, origin: Mapping[str, Any]) -> Fields:
    """Positions begin after the padding token's id, so that the id is part of the shape."""
    before = _offset(fields) if "pad_token_id" in fields else 0
    pad = {"pad_token_id": origin.get("pad_token_id", ROBERTA_PAD)}
    return fields | pad | {"max_position_embeddings": fields["max_position_embeddings"] - before + _offset(pad)}


def _encoder(prefix: str, model: TransformerConfig, layer: Stacks) -> list[Rule]:
    rules = [
        copied(f"{prefix}.embeddings.token_type_embeddings.weight", Leaf("types")),
        *layer_norm(f"{prefix}.embeddings.LayerNorm", whole, "encoder.embedding_norm"),
    ]
    for index in range(model.layers):
        rules += _block(f"{prefix}.encoder.layer.{index}", layer("encoder", index))
    return rules


def _block(name: str, at: Layer) -> list[Rule]:
    rules: list[Rule] = []
    for part in ("query", "key", "value"):
        rules += linear(f"{name}.attention.self.{part}", at, f"attention.{part}")
    return [
        *rules,
        *linear(f"{name}.attention.output.dense", at, "attention.out"),
        *layer_norm(f"{name}.attention.output.LayerNorm", at, "attention_norm"),
        *linear(f"{name}.intermediate.dense", at, "mlp.up"),
        *linear(f"{name}.output.dense", at, "mlp.down"),
        *layer_norm(f"{name}.output.LayerNorm", at, "mlp_norm"),
    ]


def _bert(model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
    head = "cls.predictions"
    rules = [
        copied("bert.embeddings.position_embeddings.weight", Leaf("encoder.positions")),
        *_encoder("bert", model, layer),
        *linear(f"{head}.transform.dense", whole, "head_transform.linear"),
        *layer_norm(f"{head}.transform.LayerNorm", whole, "head_transform.norm"),
        copied(f"{head}.bias", Leaf("head_bias")),
    ]
    if model.sentence_head:
        rules += linear("bert.pooler.dense", whole, "sentence_head.pool")
        rules += linear("cls.seq_relationship", whole, "sentence_head.out")
    return rules


def _roberta(model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
    return [
        after_rows("roberta.embeddings.position_embeddings.weight", Leaf("encoder.positions"), _offset(fields)),
        *_encoder("roberta", model, layer),
        *linear("lm_head.dense", whole, "head_transform.linear"),
        *layer_norm("lm_head.layer_norm", whole, "head_transform.norm"),
        copied("lm_head.bias", Leaf("head_bias")),
    ]


def _pair_head(given: Fields, tensors: Mapping[str, np.ndarray]) -> Fields:
    """Published files of the masked model hold the other head too."""
    promised = "BertForPreTraining" in (given.get("architectures") or ())
    return {"sentence_head": promised or any(name.startswith("cls.seq_relationship.") for name in tensors)}


BERT = Architecture(
    name="bert",
    classes=("BertForPreTraining", "BertForMaskedLM"),
    known=SHAPE,
    fixed=FIXED,
    observe=_pair_head,
    read=_read_bert,
    write=_write_bert,
    body=_bert,
    embedding="bert.embeddings.word_embeddings.weight",
    head="cls.predictions.decoder.weight",
    in_place_of={"cls.predictions.decoder.bias": "cls.predictions.bias"},
    unused=(r"bert\.pooler\.dense\.(weight|bias)",),
    buffers=BUFFERS,
    renames=(
        (r"^(embeddings|encoder|pooler)\.", r"bert.\1."),
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    ),
)

ROBERTA = Architecture(
    name="roberta",
    classes=("RobertaForMaskedLM",),
    known=SHAPE | {"vocab_size": 50265, "pad_token_id": ROBERTA_PAD},
    fixed=FIXED,
    read=_read_roberta,
    write=_write_roberta,
    carry=_keep_pad,
    body=_roberta,
    embedding="roberta.embeddings.word_embeddings.weight",
    head="lm_head.decoder.weight",
    in_place_of={"lm_head.decoder.bias": "lm_head.bias"},
    # The masked model reads no pooler, but published files hold one.
    unused=(r"roberta\.pooler\.dense\.(weight|bias)",),
    buffers=BUFFERS,
    renames=((r"^(embeddings|encoder|pooler)\.", r"roberta.\1."),),
)
