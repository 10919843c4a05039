"""Tensors and configs in folders: safetensors and JSON, never pickle."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

CONFIG, MODEL = "config.json", "model.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
FLOATS = ("F64", "F32", "F16", "BF16")


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds {type(value).__name__} and not an object")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def empty_folder(path: Path) -> Path:
    """The folder, made if it is not there. Raises ValueError if there is anything in it."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; give one that does not exist yet")
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_theirs(folder: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """The tensors of a folder as float32, from one file or from its shards. wanted: which of them, by name."""
    if (folder / WEIGHTS).exists():
        return read_tensors(folder / WEIGHTS, wanted)
    if (folder / INDEX).exists():
        return read_shards(folder, read_json(folder / INDEX).get("weight_map", {}), wanted)
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ValueError(
            f"{folder} holds {pickles[0]} and no {WEIGHTS}: reading a pickle runs whatever code it holds; where you "
            "trust it, load it with transformers and write it again with save_pretrained, which gives safetensors"
        )
    raise ValueError(f"{folder} holds no {WEIGHTS} and no {INDEX}; name a folder that save_pretrained has written")


def read_shards(folder: Path, index: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for name in sorted(set(index.values())):
        if Path(name).name != name:
            raise ValueError(f"{folder / INDEX}: shard {name!r} lies outside of the folder")
        if not (folder / name).exists():
            raise ValueError(f"{folder / INDEX} names {name}, which is not there; copy the whole model")
        tensors |= read_tensors(folder / name, wanted)
    lost = sorted(name for name in index if wanted(name) and name not in tensors)
    if lost:
        raise ValueError(f"{folder / INDEX}: tensor {lost[0]} is not in {index[lost[0]]}; copy the whole model")
    return tensors


def read_tensors(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Tensors of one file, float32."""
    from safetensors import SafetensorError, safe_open

    tensors = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in filter(wanted, file.keys()):
                kind = file.get_slice(name).get_dtype()
                if kind not in FLOATS:
                    raise ValueError(
                        f"{path}: tensor {name} is kept as {kind}; only {', '.join(FLOATS)} are read, so write the "
                        "model again without quantisation"
                    )
                tensors[name] = np.asarray(file.get_tensor(name), np.float32)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    # Contiguous: the file would take the bytes of a view in the order of the array it looks at.
    whole = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    save_file(whole, path, metadata={"format": "pt"})
