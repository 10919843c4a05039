"""Our side of a comparison: a batch as transformers names it, through our model.

B sequences, T positions, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.interchange import Model
from scaling.interchange.tree import flattened, nested
from scaling.models import families
from scaling.models.inputs import PADDING, Inputs

Batch = Mapping[str, np.ndarray]


def inputs_of(batch: Batch) -> Inputs:
    """What both sides read: padding is a document of its own here, a zero of the mask there."""
    if "decoder_input_ids" not in batch:
        documents = _documents(batch["attention_mask"])
        return Inputs(_ids(batch["input_ids"]), documents, types_BT=_ids(batch.get("token_type_ids")))
    return Inputs(
        _ids(batch["decoder_input_ids"]),
        _documents(batch["decoder_attention_mask"]),
        source_BS=_ids(batch["input_ids"]),
        source_documents_BS=_documents(batch["attention_mask"]),
    )


def text_of(batch: Batch) -> np.ndarray:
    """Where logits are compared, (B, T): not on padding, of which nothing is promised."""
    return np.asarray(batch["decoder_attention_mask" if "decoder_input_ids" in batch else "attention_mask"]) == 1


def outputs_of(model: Model, batch: Batch) -> dict[str, np.ndarray]:
    """`logits` (B, T, V), and `sentence` (B, 2) of a model with such a head."""
    run = jax.jit(_outputs, static_argnums=0)
    return jax.tree.map(np.asarray, run(model.config, nested(model.params), inputs_of(batch)))


def gradients_of(model: Model, batch: Batch) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of the mean loss over the text, and of the sentences where the model tells them apart, by path; and outputs."""
    text, labels = jnp.asarray(text_of(batch)), jnp.asarray(batch["labels"], jnp.int32)

    def loss(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = _outputs(model.config, params, inputs_of(batch))
        chosen = jnp.take_along_axis(jax.nn.log_softmax(found["logits"]), labels[..., None], -1)[..., 0]
        total = -jnp.sum(jnp.where(text, chosen, 0.0)) / jnp.sum(text)
        if "sentence" in found:
            total -= jnp.mean(jax.nn.log_softmax(found["sentence"])[:, 0])
        return total, found

    gradients, outputs = jax.jit(jax.grad(loss, has_aux=True))(jax.tree.map(jnp.asarray, nested(model.params)))
    return jax.tree.map(np.asarray, flattened(gradients)), jax.tree.map(np.asarray, outputs)


def _outputs(config: Any, params: Any, inputs: Inputs) -> dict[str, jax.Array]:
    x_BTD = families.states(config, params, inputs).x_BTD
    logits_MV = families.logits(config, params, x_BTD.reshape(-1, config.dim))
    found = {"logits": logits_MV.reshape(*x_BTD.shape[:2], -1)}
    return found | ({"sentence": families.sentence_logits(config, params, x_BTD)} if config.sentence_head else {})


def _documents(mask_BT: np.ndarray) -> jax.Array:
    return jnp.asarray(np.where(np.asarray(mask_BT) == 1, 0, PADDING), jnp.int32)


def _ids(ids_BT: np.ndarray | None) -> jax.Array | None:
    return None if ids_BT is None else jnp.asarray(ids_BT, jnp.int32)
