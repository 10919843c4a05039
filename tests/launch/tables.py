"""Tables of made-up runs as files."""

import numpy as np


def write(path, columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def runs(scale=1.0, noise=0.003, seed=0):
    """25 runs of a Chinchilla law; scale multiplies what falls with size and data."""
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    error = np.exp(noise * np.random.default_rng(seed).standard_normal(25))
    loss = (1.8 + scale * (480 / params**0.35 + 2100 / tokens**0.37)) * error
    return {"params": params, "tokens": tokens, "loss": loss}
