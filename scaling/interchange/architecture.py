"""What there is to say about one architecture of transformers: its fields, its tensors, and how both become ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling.config import TransformerConfig
from scaling.interchange.fields import Fields
from scaling.interchange.rules import Leaf, Rule, Stacks, copied


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Both directions of one `model_type`.

    `known` are the fields that decide what the model computes, with the value
    that transformers takes for an absent one; `fixed` those of which only
    some values can be expressed. `body` gives the rules of all tensors but
    the embedding and the head.
    """

    name: str  # their model_type
    classes: tuple[str, ...]  # the models with a head whose tensors are known; the first is written
    known: Mapping[str, Any]
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    read: Callable[[Fields], TransformerConfig]
    write: Callable[[TransformerConfig], Fields]
    body: Callable[[TransformerConfig, Fields, Stacks], list[Rule]]
    embedding: str
    head: str
    head_may_be_absent: bool = False  # even where tie_word_embeddings is false
    # Fields that are not in config.json: what its `architectures` and the tensors tell.
    observe: Callable[[Fields, Mapping[str, np.ndarray]], Fields] = lambda given, tensors: {}
    # What is written, changed by the config.json the model came with.
    carry: Callable[[Fields, Mapping[str, Any]], Fields] = lambda fields, origin: fields
    # What the written config.json must hold where nothing is known of where the model came from.
    fresh: Mapping[str, Any] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)  # tensors that must be equal to another, or absent
    in_place_of: Mapping[str, str] = field(default_factory=dict)  # where present, what is used instead of the other
    unused: tuple[str, ...] = ()  # patterns of tensors that no logit depends on, unless a rule names them
    buffers: tuple[str, ...] = ()  # patterns of what is computed anew and never read
    renames: tuple[tuple[str, str], ...] = ()  # patterns of older or headless files, and what they are now

    def rules(self, model: TransformerConfig, fields: Fields, layer: Stacks) -> list[Rule]:
        ends = [copied(self.embedding, Leaf("embedding"))]
        if not model.tied:
            ends.append(copied(self.head, Leaf("head")))
        return ends + self.body(model, fields, layer)
