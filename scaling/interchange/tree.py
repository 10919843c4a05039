"""Our parameters as a nested tree and by dotted path."""

from collections.abc import Mapping
from typing import Any

from scaling.config import TransformerConfig


def shapes_of(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of ours, by dotted path."""
    import jax

    from scaling.models import families

    tree = jax.eval_shape(lambda: families.init(config, 0))
    return {path: leaf.shape for path, leaf in flattened(tree).items()}


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of a nested tree by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        leaves |= flattened(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return leaves


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of which these are the leaves."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree
