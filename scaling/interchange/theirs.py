"""From their config and tensors to a model of ours, and back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from scaling.config import TransformerConfig, from_dict, to_dict
from scaling.interchange import rules
from scaling.interchange.architecture import Architecture
from scaling.interchange.bart import BART
from scaling.interchange.bert import BERT, ROBERTA
from scaling.interchange.fields import Fields, understood
from scaling.interchange.function import differences
from scaling.interchange.gemma import GEMMA2
from scaling.interchange.gpt import GPT1, GPT2
from scaling.interchange.llama import LLAMA, MISTRAL, MIXTRAL
from scaling.interchange.qwen import QWEN2, QWEN3
from scaling.interchange.t5 import T5
from scaling.interchange.tree import shapes_of

# In the order in which they are tried for a model that came from nowhere.
ARCHITECTURES = {
    each.name: each for each in (LLAMA, GPT2, GPT1, MISTRAL, QWEN2, QWEN3, GEMMA2, MIXTRAL, BERT, ROBERTA, T5, BART)
}
SAID = "tied"  # beside their own: whether the head is the embedding, as the tensors tell


@dataclass(frozen=True, kw_only=True)
class Model:
    """A config, its parameters by dotted path, and the config.json it came with ({} if it is ours)."""

    config: TransformerConfig
    params: Mapping[str, np.ndarray]
    origin: Fields = field(default_factory=dict)


def recognise(given: Fields) -> Architecture:
    """Of a config.json. Raises ValueError for one that is not known."""
    name, classes = given.get("model_type"), given.get("architectures") or ()
    if name not in ARCHITECTURES:
        raise ValueError(f"config.json: model_type={name!r} is not known; there are {', '.join(sorted(ARCHITECTURES))}")
    architecture = ARCHITECTURES[name]
    if classes and not set(classes) & set(architecture.classes):
        raise ValueError(
            f"config.json: architectures={list(classes)} is not known; of {name} there is "
            f"{' and '.join(architecture.classes)}"
        )
    return architecture


def from_theirs(given: Fields, tensors: Mapping[str, np.ndarray], where: str) -> Model:
    """where: the folder, for errors."""
    architecture = recognise(given)
    fields = understood(architecture.name, given, architecture.known, architecture.fixed)
    tensors = _settled(architecture, tensors, where)
    fields |= {SAID: _tied(architecture, fields, tensors)} | architecture.observe(given, tensors)
    config = from_dict(TransformerConfig, to_dict(architecture.read(fields)), where)
    if config.tied:
        tensors.pop(architecture.head, None)
    shapes = shapes_of(config)
    found = architecture.rules(config, fields, rules.stacks(shapes))
    named = {name for rule in found for name in rule.theirs}
    unused = re.compile("|".join(architecture.unused) or "(?!)")
    kept = {name: value for name, value in tensors.items() if name in named or not unused.fullmatch(name)}
    return Model(config=config, params=rules.load(found, shapes, kept, where), origin=dict(given))


def to_theirs(model: Model, name: str | None = None) -> tuple[Fields, dict[str, np.ndarray]]:
    """config.json and tensors. name: the model_type to write; None: where it came from, or the first that fits."""
    architecture = _fitting(model, name)
    came = model.origin.get("model_type") == architecture.name
    start = model.origin if came else architecture.fresh
    fields = architecture.carry(architecture.write(model.config), start)
    found = architecture.rules(model.config, fields, rules.stacks(model.params))
    tensors = rules.store(found, model.params, architecture.name)
    if not model.config.tied:  # with a head of its own, transformers reads each of these
        copies = dict(architecture.copies) | dict(architecture.in_place_of)
        tensors |= {copy: tensors[of] for copy, of in copies.items() if of in tensors}
    ours = {SAID, *architecture.observe({}, {})}
    written = {field: value for field, value in fields.items() if field not in ours}
    kind = {"architectures": [architecture.classes[0]], "model_type": architecture.name, "dtype": "float32"}
    return _unruled(architecture, start) | kind | written, tensors


def _settled(architecture: Architecture, tensors: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Every tensor once, under the name it has today."""
    found: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        for pattern, today in architecture.renames:
            name = re.sub(pattern, today, name)
        if name in found:
            raise ValueError(f"{where}: two tensors are {name}, one of them by an older name; remove one")
        found[name] = value
    for name, other in architecture.in_place_of.items():
        if name in found:
            found[other] = found.pop(name)
    for name, other in architecture.copies.items():
        copy = found.pop(name, None)
        if copy is not None and not np.array_equal(copy, found.setdefault(other, copy)):
            raise ValueError(f"{where}: tensor {name} differs from {other}, and here they are one")
    return found


def _tied(architecture: Architecture, fields: Fields, tensors: Mapping[str, np.ndarray]) -> bool:
    """As transformers decides: by the config, unless the file holds a head of its own."""
    head, embedding = tensors.get(architecture.head), tensors.get(architecture.embedding)
    said = fields["tie_word_embeddings"]
    if head is None or embedding is None:
        return architecture.head_may_be_absent or bool(said)
    return said is not False and np.array_equal(head, embedding)


def _unruled(architecture: Architecture, start: Mapping[str, Any]) -> Fields:
    """What a config.json said beside what we write anew."""
    anew = {*architecture.known, "transformers_version", "torch_dtype"}
    return {field: value for field, value in start.items() if field not in anew or field.endswith("_token_id")}


def _fitting(model: Model, name: str | None) -> Architecture:
    """The architecture to write. Raises ValueError that names what an asked one, or the closest one, cannot express."""
    wanted = name or model.origin.get("model_type")
    if wanted and wanted not in ARCHITECTURES:
        raise ValueError(f"architecture {wanted!r} is not known; there are {', '.join(sorted(ARCHITECTURES))}")
    tried = [ARCHITECTURES[wanted]] if wanted else list(ARCHITECTURES.values())
    found = {each.name: misfits(model.config, each) for each in tried}
    closest = min(found, key=lambda each: (found[each].refused, len(found[each].said)))
    if found[closest].said:
        raise ValueError(
            f"this model cannot be written as {closest}"
            + ("" if wanted else ", the closest of those that transformers has")
            + f": {'; '.join(found[closest].said)}"
        )
    return ARCHITECTURES[closest]


class Misfits(NamedTuple):
    """Why a config cannot be written as theirs."""

    said: list[str]  # empty: it can
    refused: bool = False  # by the reader, which says one reason of perhaps many


def misfits(config: TransformerConfig, architecture: Architecture) -> Misfits:
    """What would be lost if this config were written as theirs and read again."""
    try:
        fields = architecture.write(config)
        again = architecture.read(dict(architecture.known) | {SAID: config.tied} | fields)
    except ValueError as error:
        return Misfits([str(error)], refused=True)
    return Misfits(differences(config, again))
