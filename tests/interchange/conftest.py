"""The stored references as folders that transformers could have written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.interchange.make_references import FOLDER

Tensors = dict[str, np.ndarray]
Written = Callable[..., Path]


def stored(name: str) -> tuple[dict[str, Any], dict[str, Tensors]]:
    """config.json, and tensors by kind: weights, inputs, outputs."""
    kinds: dict[str, Tensors] = {"weights": {}, "inputs": {}, "outputs": {}}
    with safe_open(FOLDER / f"{name}.safetensors", framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
        for key in file.keys():  # noqa: SIM118, not a mapping
            kind, _, tensor = key.partition(".")
            kinds[kind][tensor] = file.get_tensor(key)
    return config, kinds


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a reference as a folder: (name, fields and tensors to change; None takes one away)."""

    def write(name: str, fields: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None) -> Path:
        config, kinds = stored(name)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config |= fields or {}
        weights = kinds["weights"] | (tensors or {})
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        kept = {key: np.ascontiguousarray(value) for key, value in weights.items() if value is not None}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write
