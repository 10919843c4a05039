"""How arrays lie on a mesh: the tables of `parallel.dims` made into partitions."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec

from scaling.parallel.dims import PARAMETERS, Dims, Path, dims_of
from scaling.parallel.layout import Layout


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
