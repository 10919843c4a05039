"""A folder of theirs, a folder of ours, or a run of ours: read any, write the first two.

Ours is `model.json` (the config, and the config.json it came with) and
`weights.safetensors` (parameters by dotted path).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import RunConfig, TransformerConfig, from_dict, to_dict
from scaling.interchange import files
from scaling.interchange.rules import check_tensors
from scaling.interchange.theirs import Model, from_theirs, recognise, to_theirs
from scaling.interchange.tree import flattened, shapes_of
from scaling.training.seal import damage

OURS = "weights.safetensors"


def read(folder: Path) -> Model:
    """The model in a folder, whichever kind it is."""
    kind = kind_of(folder)
    if kind == "ours":
        return _read_ours(folder)
    return _read_run(folder) if kind == "run" else _read_theirs(folder)


def kind_of(folder: Path) -> str:
    """ "theirs", "ours" or "run". Raises ValueError for any other folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if (folder / files.MODEL).exists():
        return "ours"
    if not (folder / files.CONFIG).exists():
        raise ValueError(
            f"{folder} holds neither {files.CONFIG} (a transformers model, or a run of ours) nor {files.MODEL} "
            "(a model of ours)"
        )
    given = files.read_json(folder / files.CONFIG)
    if "model_type" in given:
        return "theirs"
    if isinstance(given.get("model"), dict):
        return "run"
    raise ValueError(f"{folder / files.CONFIG} has no model_type; it is neither a transformers model nor a run of ours")


def write_ours(model: Model, folder: Path) -> None:
    """The folder must not exist, or be empty."""
    files.empty_folder(folder)
    files.write_tensors(folder / OURS, model.params)
    files.write_json(folder / files.MODEL, {"model": to_dict(model.config), "transformers": model.origin})


def write_theirs(model: Model, folder: Path, architecture: str | None = None) -> str:
    """Written as `architecture`, where it came from, or the first that fits; its name. The folder as above."""
    fields, tensors = to_theirs(model, architecture)
    files.empty_folder(folder)
    files.write_tensors(folder / files.WEIGHTS, tensors)
    files.write_json(folder / files.CONFIG, fields)
    return fields["model_type"]


def _read_theirs(folder: Path) -> Model:
    given = files.read_json(folder / files.CONFIG)
    buffers = re.compile("|".join(recognise(given).buffers) or "(?!)")
    tensors = files.read_theirs(folder, lambda name: not buffers.fullmatch(name))
    return from_theirs(given, tensors, str(folder))


def _read_ours(folder: Path) -> Model:
    path = folder / files.MODEL
    given = files.read_json(path)
    if not isinstance(given.get("model"), dict):
        raise ValueError(f"{path}: has no model")
    config = from_dict(TransformerConfig, given["model"], str(path))
    params = files.read_tensors(folder / OURS) if (folder / OURS).exists() else {}
    check_params(config, params, str(folder / OURS))
    return Model(config=config, params=params, origin=given.get("transformers") or {})


def check_params(config: TransformerConfig, params: dict[str, np.ndarray], where: str) -> None:
    """Raises ValueError that names every parameter that does not fit the config."""
    expected = {path: np.broadcast_to(np.float32(0), shape) for path, shape in shapes_of(config).items()}
    check_tensors(expected, params, where)


def _read_run(folder: Path) -> Model:
    """The last checkpoint of a run."""
    run = from_dict(RunConfig, files.read_json(folder / files.CONFIG), str(folder / files.CONFIG))
    if not isinstance(run.model, TransformerConfig):
        raise ValueError(f"{folder}: its model is {run.model.kind}; transformers has none of the kind")
    params = flattened(_last_params(folder / "checkpoints"))
    check_params(run.model, params, str(folder))
    return Model(config=run.model, params=params)


def _last_params(checkpoints: Path) -> Any:
    import orbax.checkpoint as ocp

    if not checkpoints.is_dir():
        raise ValueError(f"{checkpoints} is not there; a run is converted from its last checkpoint")
    with ocp.CheckpointManager(checkpoints.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        steps = list(manager.all_steps())
        problems = {}
        while steps and (problem := damage(checkpoints / str(max(steps)))) is not None:
            problems[max(steps)] = problem
            steps.remove(max(steps))
        if not steps:
            found = "".join(f"; {step}: {problem}" for step, problem in problems.items())
            raise ValueError(f"{checkpoints} holds no whole checkpoint; let the run go on until it writes one{found}")
        found = manager.restore(max(steps), args=ocp.args.Composite(state=ocp.args.StandardRestore()))
    return found["state"]["params"]
