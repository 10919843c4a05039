"""Their side of a comparison: reference models with random weights, run by transformers. Needs torch.

B sequences, T positions, V vocabulary.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from tests.interchange.cases import Case


def model_of(case: Case, seed: int) -> Any:
    """Every weight drawn anew, wide enough that caps, windows and norms can be seen in the logits."""
    config = getattr(transformers, case.config)(**case.options, attn_implementation="eager")
    model = getattr(transformers, case.cls)(config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=draw)
            if weight.ndim > 1:
                weight.copy_(noise * (0.5 if "emb" in name or "wte" in name or "shared" in name else 0.3))
            else:
                weight.copy_(0.2 * noise + (weight.mean() > 0.5))
        for name, weight in model.named_buffers():
            if name == "final_logits_bias":
                weight.copy_(0.3 * torch.randn(weight.shape, generator=draw))
    return model


def batch_of(model: Any, positions: int, seed: int) -> dict[str, np.ndarray]:
    """Random tokens that are no padding, masks, labels; and token types or a source where the model reads them."""
    draw = np.random.default_rng(seed)
    config = model.config
    types = getattr(config, "type_vocab_size", 0)
    ids, mask = _padded(draw, config, [positions, positions * 2 // 3, positions // 3])
    batch = {"labels": draw.integers(3, config.vocab_size, ids.shape)}
    if config.is_encoder_decoder:
        source, source_mask = _padded(draw, config, [positions // 2, positions - 2, positions * 3 // 4])
        return batch | {
            "input_ids": source,
            "attention_mask": source_mask,
            "decoder_input_ids": ids,
            "decoder_attention_mask": mask,
        }
    batch |= {"input_ids": ids, "attention_mask": mask}
    return batch | ({"token_type_ids": draw.integers(0, types, ids.shape)} if types else {})


def outputs_of(model: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.numpy() for name, value in _outputs(model, batch).items()}


def gradients_of(model: Any, batch: dict[str, np.ndarray], text: np.ndarray) -> dict[str, np.ndarray]:
    """Of the mean loss over the text, and of the sentences where the model tells them apart.

    By the names of their file, which may differ from those in memory: the
    gradients are saved as if they were the weights.
    """
    model = copy.deepcopy(model)
    found = _outputs(model, batch)
    labels = torch.tensor(np.where(text, batch["labels"], -100))
    loss = torch.nn.functional.cross_entropy(found["logits"].flatten(0, 1), labels.flatten())
    if "sentence" in found:
        loss = loss - torch.log_softmax(found["sentence"], -1)[:, 0].mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for weight in model.parameters():
            weight.copy_(torch.full_like(weight, torch.nan) if weight.grad is None else weight.grad)
        model.save_pretrained(folder)
        saved = load_file(Path(folder) / "model.safetensors")
    return {name: value for name, value in saved.items() if not np.isnan(value).any() and name != "final_logits_bias"}


def _outputs(model: Any, batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    given = {name: torch.tensor(value) for name, value in batch.items() if name != "labels"}
    out = model(**given)
    if hasattr(out, "seq_relationship_logits"):
        return {"logits": out.prediction_logits, "sentence": out.seq_relationship_logits}
    return {"logits": out.logits}


def _padded(draw: np.random.Generator, config: Any, lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of these lengths, padded on the right; of decoders and encoder-decoders the last one on the left."""
    mask_BT = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    # BERT's sentence head reads the first position; RoBERTa counts positions from the first token of text.
    if config.model_type not in ("bert", "roberta"):
        mask_BT[-1] = mask_BT[-1, ::-1]
    ids_BT = draw.integers(3, config.vocab_size, mask_BT.shape)
    return np.where(mask_BT == 1, ids_BT, config.pad_token_id or 0), mask_BT
