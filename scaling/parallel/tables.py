"""The two tables that say which mesh axes divide what: one for parameters, one for activations.

Models speak of logical dimensions ("heads", "vocab"); only these tables speak
of mesh axes. A name that no table knows is an error, and so is a mesh axis
that divides two dimensions of one array.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec

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
        raise ValueError(
            f"parameter {'/'.join(path)}: {module!r} is in no sharding table; add it to parallel/tables.py"
        )
    if path[-3:-1] == ("sentence_head", "out"):
        return ("dim", "feature") if name == "kernel" else ("feature",)
    dims = _MATRICES[module]
    if name == "kernel":
        return dims
    return ("feature",) if dims[1] == "dim" else dims[1:]  # a bias


def spec(dims: Dims, table: Mapping[str, tuple[str, ...]], layout: Layout) -> PartitionSpec:
    """The mesh axes of each dimension. Raises for an unknown dimension and for an axis spent twice."""
    spent: list[str] = []
    parts: list[tuple[str, ...] | None] = []
    for dim in dims:
        if dim not in table:
            raise ValueError(f"dimension {dim!r} of {dims} is in no sharding table; known are {', '.join(table)}")
        axes = layout.over(*table[dim])
        if twice := set(axes) & set(spent):
            raise ValueError(f"mesh axis {twice.pop()!r} divides two dimensions of {dims}; it can be spent once")
        spent.extend(axes)
        parts.append(axes or None)
    while parts and parts[-1] is None:
        parts.pop()
    return PartitionSpec(*parts)


def specs_of(params: Any, layout: Layout) -> Any:
    """The partition of every parameter of a transformer; a tree like `params`.

    Where only copies of the model are made, no name needs to be known.
    """
    if set(layout.axes) <= {"data"}:
        return jax.tree.map(lambda _: PartitionSpec(), params)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: spec(dims_of(_keys(path), layout), PARAMETERS, layout), params
    )


def _keys(path: tuple[Any, ...]) -> Path:
    return tuple(entry.key for entry in path)


def axes_of(partition: PartitionSpec) -> tuple[str, ...]:
    """All axes that a partition spends."""
    return tuple(
        axis for part in partition if part is not None for axis in (part if isinstance(part, tuple) else (part,))
    )
