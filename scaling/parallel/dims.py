"""The two tables that say which mesh axes divide what: one for parameters, one for activations.

Models speak of logical dimensions ("heads", "vocab"); only these tables speak
of mesh axes. A name that no table knows is an error, and so is a mesh axis
that divides two dimensions of one array. No JAX: plans read them too.
"""

from scaling.parallel.layout import BATCH_AXES, Layout

Dims = tuple[str, ...]
Path = tuple[str, ...]  # keys from the root of the parameters to a leaf

PARAMETERS: dict[str, tuple[str, ...]] = {
    "vocab": ("pipe", "tensor"),  # every stage and every part of a matrix holds some rows of embedding and head
    "dim": ("fsdp",),  # width of the residual stream
    "heads": ("tensor",),
    "hidden": ("tensor",),  # of an MLP or an expert
    "experts": ("expert",),
    "layers": ("pipe",),
    "repeats": (),  # circular pipelines: times that the layers come past a stage
    "own_layers": (),  # layers of one stage at one repeat
    "feature": (),  # small vectors and what has few rows: not worth dividing
}

ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "batch": BATCH_AXES,
    "position": ("context",),
    "token": (*BATCH_AXES, "context", "tensor"),  # between blocks: tensor divides tokens, so norms are divided too
    "heads": ("tensor",),
    "hidden": ("tensor",),
    "vocab": ("pipe", "tensor"),
    "width": (),
    "target": (),
    "word": (),  # places of a window of text, and words of a key
}

# By the last name of a parameter's path, that of its module where it is a kernel or a bias.
_MATRICES: dict[str, Dims] = {
    "query": ("dim", "heads"),
    "key": ("dim", "heads"),
    "value": ("dim", "heads"),
    "out": ("heads", "dim"),
    "gate": ("dim", "hidden"),
    "up": ("dim", "hidden"),
    "down": ("hidden", "dim"),
    "linear": ("dim", "feature"),
    "pool": ("dim", "feature"),
}
_TABLES: dict[str, Dims] = {
    "embedding": ("vocab", "dim"),
    "head": ("vocab", "dim"),
    "head_bias": ("vocab",),
    "types": ("feature", "dim"),
    "positions": ("feature", "dim"),
    "relative_bias": ("feature", "heads"),
    "router": ("dim", "feature"),
    "gate": ("experts", "dim", "hidden"),  # of experts
    "up": ("experts", "dim", "hidden"),
    "down": ("experts", "hidden", "dim"),
}


def dims_of(path: Path, layout: Layout) -> Dims:
    """The logical dimensions of a transformer's parameter. Raises for one that no table knows."""
    if "blocks" not in path:
        return _dims(path)
    leading = ("repeats", "layers", "own_layers") if layout.repeats > 1 else ("layers",)
    return (*leading, *_dims(path))


def _dims(path: Path) -> Dims:
    name = path[-1]
    if name in _TABLES:
        return _TABLES[name]
    if name == "scale" or path[-2].endswith("norm"):
        return ("feature",)
    module = path[-2]
    if module not in _MATRICES:
        raise ValueError(f"parameter {'/'.join(path)}: {module!r} is in no sharding table; add it to parallel/dims.py")
    if path[-3:-1] == ("sentence_head", "out"):
        return ("dim", "feature") if name == "kernel" else ("feature",)
    dims = _MATRICES[module]
    if name == "kernel":
        return dims
    return ("feature",) if dims[1] == "dim" else dims[1:]  # a bias
