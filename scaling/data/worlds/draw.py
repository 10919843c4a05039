"""Random numbers by name: any document is drawn without those before it, alike on every machine and with every numpy.

Only the raw 64-bit output of Philox (Salmon et al. 2011) is used, which numpy
promises not to change, unlike what its generators make of it.
"""

import hashlib

import numpy as np


def uniforms(name: str, seed: int, n: int) -> np.ndarray:
    """(n,) float64 in [0, 1), multiples of 2^-53; the first of them do not depend on n."""
    key = np.frombuffer(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest(), "<u8")
    return (np.random.Philox(key=key).random_raw(n) >> np.uint64(11)) * 2.0**-53


def integers(name: str, seed: int, below: int, n: int) -> np.ndarray:
    """(n,) int64 in 0 .. below - 1, as even as multiples of 2^-53 can be."""
    return (uniforms(name, seed, n) * below).astype(np.int64)


def order(name: str, seed: int, n: int) -> np.ndarray:
    """(n,) int64, a permutation of 0 .. n - 1. That two numbers are equal has odds of n^2 2^-54; the sort is stable."""
    return np.argsort(uniforms(name, seed, n), kind="stable")
