"""The rows of a batch that this process makes, and the batch of all processes made of them."""

import jax
import numpy as np
from jax.sharding import NamedSharding


class Rows:
    """A batch whose first dimension lies over the devices of several processes."""

    def __init__(self, batch: int, sharding: NamedSharding):
        """batch: rows of all processes together. sharding: of the first dimension; others are not divided."""
        self._batch, self._sharding = batch, sharding
        places = sharding.addressable_devices_indices_map((batch,)).values()
        # Devices may share rows, as those of tensor do; a process makes each of its rows once.
        self.mine = np.unique(np.concatenate([np.arange(batch)[place] for place in places]))

    def joined(self, local: np.ndarray) -> jax.Array:
        """The array of all processes, (batch, ...). local: the rows `mine` of it, in that order."""

        def part(index: tuple[slice, ...]) -> np.ndarray:
            return local[np.searchsorted(self.mine, np.arange(self._batch)[index[0]])]

        return jax.make_array_from_callback((self._batch, *local.shape[1:]), self._sharding, part)
