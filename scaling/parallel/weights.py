"""Parameters that are divided among devices: made whole where they are used, and cut for circular pipelines."""

from typing import Any

import jax
from jax import Array

from scaling.parallel.collectives import gather_weight
from scaling.parallel.dims import dims_of
from scaling.parallel.layout import Layout


def gathered(params: Any, layout: Layout, *, but_blocks: bool = False) -> Any:
    """Parameters made whole along what `fsdp` divides; but_blocks: layers stay as they are.

    params: those of a transformer, or of any part of it. Layers may be stacked
    or single: the divided dimension is counted from the last.
    """
    if layout.fsdp == 1:
        return params

    def whole(path: tuple[Any, ...], leaf: Array) -> Array:
        keys = tuple(entry.key for entry in path if hasattr(entry, "key"))
        dims = dims_of(keys, layout)
        if "dim" not in dims or (but_blocks and "blocks" in keys):
            return leaf
        return gather_weight(leaf, "fsdp", leaf.ndim - len(dims) + dims.index("dim"))

    return jax.tree_util.tree_map_with_path(whole, params)


def staged(params: Any, layout: Layout) -> Any:
    """Stacked layers cut into (repeats, stages, layers of a stage, ...), as a circular pipeline holds them."""
    if layout.repeats == 1:
        return params

    def cut(path: tuple[Any, ...], leaf: Array) -> Array:
        if "blocks" not in [getattr(entry, "key", None) for entry in path]:
            return leaf
        return leaf.reshape(layout.repeats, layout.pipe, -1, *leaf.shape[1:])

    return jax.tree_util.tree_map_with_path(cut, params)


def unstaged(params: Any, layout: Layout) -> Any:
    """Layers in one stack again, in their order; undoes `staged`."""
    if layout.repeats == 1:
        return params

    def join(path: tuple[Any, ...], leaf: Array) -> Array:
        if "blocks" not in [getattr(entry, "key", None) for entry in path]:
            return leaf
        return leaf.reshape(-1, *leaf.shape[3:])

    return jax.tree_util.tree_map_with_path(join, params)
