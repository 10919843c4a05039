"""Double precision on the CPU, whatever the caller has set, and only inside a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def double() -> Iterator[None]:
    """float64 on the CPU for the block. The caller's settings, and its accelerator, are left alone.

    A fit of a few hundred rows is too small for an accelerator, and exponents of
    tokens need more digits than float32 has.
    """
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield
