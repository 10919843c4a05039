"""The coordinate check: do activations and updates keep their size as models grow?"""

import json
import os
import sys
from dataclasses import dataclass, replace
from typing import Literal

import tyro
from rich.console import Console

from launch.options import WhereOptions
from scaling.config import Parametrisation, TransformerConfig
from scaling.coordinates import QUANTITIES, Coordinates, deeper, describe, wider

console = Console()

BASE = TransformerConfig(vocab=256, dim=64, layers=2, heads=4, context=32)


@dataclass(frozen=True, kw_only=True)
class CoordinateOptions(WhereOptions):
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Checked with muP, whose base is the first; heads keep their size."""
    depths: tuple[int, ...] = ()
    """Given, layers are checked in place of widths; the first is the base."""
    depth_rule: Literal["sqrt", "complete"] = "complete"
    """Of `depths`: branches times L^-1/2 (depth-muP), or L^-1 (CompleteP)."""
    steps: int = 4
    """Of training."""
    lr: float | None = None
    """Peak and only learning rate; default: 1e-2 for widths, 3e-3 for depths."""
    seeds: int = 2
    """Initialisations."""
    model: TransformerConfig = BASE
    """All else; a decoder."""
    json: bool = False
    """Print one JSON object."""

    @property
    def along(self) -> Literal["width", "depth"]:
        return "depth" if self.depths else "width"

    @property
    def rate(self) -> float:
        # The stream of a deep check begins at size one, fifty times the embeddings of the other: see `deeper`.
        default = 3e-3 if self.depths else 1e-2
        return default if self.lr is None else self.lr

    def models(self, rule: str) -> list[TransformerConfig]:
        """The sizes to compare, by the standard parametrisation or by a rule."""
        if self.along == "width":
            sizes = [wider(self.model, width) for width in self.widths]
            by_rule = Parametrisation(width="mup", base_dim=self.widths[0] if self.widths else 1)
        else:
            sizes = [deeper(self.model, layers) for layers in self.depths]
            by_rule = Parametrisation(depth=self.depth_rule, base_layers=self.depths[0])
        found = Parametrisation() if rule == "standard" else by_rule
        return [replace(model, parametrisation=found) for model in sizes]


def coord_check(arguments: list[str]) -> None:
    """Train a few steps at several widths, or depths, and say whether activations and updates keep their size."""
    options = tyro.cli(CoordinateOptions, args=arguments, prog="scaling coord-check", description=coord_check.__doc__)
    _compile_quickly()
    from analysis.figures.coordinates import coordinates
    from analysis.figures.save import save

    checks = _checks(options)
    folder = options.workspace.reports / "coord-check"
    folder.mkdir(parents=True, exist_ok=True)
    save(coordinates(checks), folder, options.along)
    if options.json:
        print(json.dumps({"along": options.along, "checks": [_plain(found) for found in checks]}))
    else:
        console.print(describe(checks), markup=False, highlight=False, soft_wrap=True)
        console.print(f"\nfigure: {folder / options.along}.png", soft_wrap=True, highlight=False)
    if checks[-1].faults():
        sys.exit(f"{checks[-1].parametrisation} does not keep coordinates at one size")


def _checks(options: CoordinateOptions) -> list[Coordinates]:
    from scaling.training.coordinates import check

    rules = ("standard", "muP" if options.along == "width" else options.depth_rule)
    return [
        check(
            options.models(rule), along=options.along, parametrisation=rule, steps=options.steps, lr=options.rate,
            seeds=options.seeds,
        )
        for rule in rules
    ]  # fmt: skip


def _compile_quickly() -> None:
    """On CPU nearly all the time goes into compiling, and XLA needs a quarter of it when it does not optimise."""
    from launch.devices import slots

    if slots(1)[0].cores:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"


def _plain(found: Coordinates) -> dict[str, object]:
    return {
        "parametrisation": found.parametrisation,
        "sizes": found.sizes,
        "growth": {name: found.growth(name) for name in QUANTITIES},
        "change": {name: found.change(name) for name in QUANTITIES},
        "faults": found.faults(),
    }
