"""What a coordinate check found: how large activations are, and how much training changes them, at several sizes.

Under a parametrisation that carries learning rates from one size to another,
the coordinates of an activation keep their size, and so does their change
after a few steps (Yang et al. 2022, arXiv:2203.03466, appendix D.1). What
theory puts out of place grows or shrinks as the root of the size at least, so
a slope of TOLERANCE in logarithms lies half way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scaling.config import TransformerConfig

TOLERANCE = 0.25
QUANTITIES = {
    "embedding": "embeddings",
    "attention": "attention output",
    "mlp": "MLP output",
    "stream": "residual stream at its end",
    "state": "last state, normalised",
    "logits": "logits",
}
STREAM_STARTS_AT = 50.0  # embedding scale of a check along depth: one over the embeddings' standard deviation


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Root mean squares over coordinates, by quantity: arrays (sizes, steps + 1), the first column before training."""

    along: Literal["width", "depth"]
    parametrisation: str
    sizes: tuple[int, ...]
    values: Mapping[str, np.ndarray]
    changes: Mapping[str, np.ndarray]  # since the first column

    @property
    def steps(self) -> int:
        return self.values["logits"].shape[1] - 1

    def growth(self, quantity: str) -> float:
        """Slope of the logarithm of a quantity's size after the last step, against the logarithm of the model's."""
        return _slope(self.sizes, self.values[quantity][:, -1])

    def change(self, quantity: str) -> float:
        """The same of what training has changed in it."""
        return _slope(self.sizes, self.changes[quantity][:, -1])

    def faults(self) -> list[str]:
        """What does not keep its size; empty when the check is passed.

        A size may fall: fresh logits are a sum of random terms, which muP lets vanish with the width.
        """
        found = []
        for name, words in QUANTITIES.items():
            if not self.growth(name) <= TOLERANCE:  # so that NaN is a fault
                found.append(f"{words}: size {self.growth(name):+z.2f}")
            if not abs(self.change(name)) <= TOLERANCE:
                found.append(f"{words}: change {self.change(name):+z.2f}")
        return found


def wider(model: TransformerConfig, dim: int) -> TransformerConfig:
    """The model at another width: as many times more heads of the same size, and an MLP as many times wider."""
    ratio = dim / model.dim
    counts = {name: getattr(model, name) for name in ("heads", "kv_heads", "mlp_dim")}
    grown = {name: count * ratio for name, count in counts.items() if count is not None}
    broken = [f"{name}={counts[name]} would be {value:g}" for name, value in grown.items() if value != int(value)]
    if broken:
        raise ValueError(
            f"width {dim} from a model of width {model.dim}: {', '.join(broken)}; choose multiples of "
            f"{model.dim // model.heads}, or other heads"
        )
    return replace(model, dim=dim, **{name: int(value) for name, value in grown.items()})


def deeper(model: TransformerConfig, layers: int) -> TransformerConfig:
    """The model at another depth, its stream beginning at size one.

    CompleteP's limit speaks of such a stream. With small embeddings a fresh
    stream is what the blocks add, which falls with depth, until the norms that
    read it make good for that.
    """
    return replace(model, layers=layers, embedding_scale=model.embedding_scale or STREAM_STARTS_AT)


def describe(checks: list[Coordinates]) -> str:
    """A table of slopes, a row a quantity, and a verdict for each check."""
    first, width = checks[0], max(map(len, QUANTITIES.values()))
    sizes = ", ".join(map(str, first.sizes))
    head = "".join(f"  {found.parametrisation:>16}" for found in checks)
    under = "".join(f"  {'size':>8}{'change':>8}" for _ in checks)
    lines = [
        f"slopes of ln(root mean square) against ln({first.along}), {first.along} {sizes}, after {first.steps} steps",
        f"{'':{width}}{head}",
        f"{'':{width}}{under}",
    ]
    for name, words in QUANTITIES.items():
        slopes = "".join(f"  {found.growth(name):>+z8.2f}{found.change(name):>+z8.2f}" for found in checks)
        lines.append(f"{words:{width}}{slopes}")
    for found in checks:
        faults = found.faults()
        verdict = f"fails: {'; '.join(faults)}" if faults else "passes"
        lines.append(f"{found.parametrisation} {verdict}")
    return "\n".join([*lines, f"(a size may grow by at most {TOLERANCE}, a change by {TOLERANCE} either way)"])


def _slope(sizes: tuple[int, ...], values: np.ndarray) -> float:
    """Least squares in logarithms; NaN where training has left the numbers."""
    if not np.all(np.isfinite(values) & (values > 0)):
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
