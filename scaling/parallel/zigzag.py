"""The order in which shards hold a sequence, so that causal attention is the same work for each.

With n shards a sequence is cut into 2n chunks, and shard i holds chunks i and
2n - 1 - i: what its early rows do not see, its late rows do. NumPy only, so
that a plan can be checked without JAX.
"""

import numpy as np


def check_divisible(length: int, shards: int) -> None:
    """Raises ValueError unless a sequence of `length` positions has 2 equal chunks for each shard."""
    chunks = 2 * shards
    if length < 1 or length % chunks:
        below = length - length % chunks
        nearest = f"{below} and {below + chunks}" if below > 0 else f"{chunks}"
        raise ValueError(
            f"a sequence of {length} positions cannot be cut into {chunks} equal chunks, two for each of "
            f"{shards} shards of the context axis; the nearest lengths that can are {nearest}"
        )


def zigzag(length: int, shards: int) -> np.ndarray:
    """Positions in the order in which the shards hold them, (length,): `x[:, zigzag]` is then cut evenly."""
    check_divisible(length, shards)
    chunks_CP = np.arange(length).reshape(2 * shards, -1)  # C chunk, P position in it
    early, late = chunks_CP[:shards], chunks_CP[::-1][:shards]
    return np.stack([early, late], axis=1).reshape(-1)


def unzigzag(length: int, shards: int) -> np.ndarray:
    """The inverse of `zigzag`: `x[:, zigzag][:, unzigzag]` is x."""
    return np.argsort(zigzag(length, shards))
