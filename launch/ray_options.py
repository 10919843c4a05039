"""What a Ray cluster must be told of a launch."""

from dataclasses import dataclass
from typing import Annotated

import tyro


def _option(name: str, meaning: str) -> object:
    """Named in full: a study may have a parameter of the same name."""
    return tyro.conf.arg(name=f"ray.{name}", prefix_name=False, help=meaning)


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """With --on ray."""

    address: Annotated[
        str | None, _option("address", "Of a cluster that is there: HOST:PORT, or auto. None: one of this machine")
    ] = None
    nodes: Annotated[int, _option("nodes", "That one run takes, with one process each")] = 1
    gpus: Annotated[int, _option("gpus", "Of each node; 0 trains on CPUs")] = 0
    cpus: Annotated[int, _option("cpus", "Of each node")] = 1
    at_once: Annotated[int | None, _option("at-once", "Runs under way at the same time, at most")] = None

    def __post_init__(self) -> None:
        for name in ("nodes", "cpus", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--ray.{name.replace('_', '-')} {value}: must be positive")
        if self.gpus < 0:
            raise ValueError(f"--ray.gpus {self.gpus}: must not be negative")
        if self.nodes > 1 and self.address is None:
            raise ValueError(
                f"--ray.nodes {self.nodes}: without --ray.address Ray is on this machine alone, which is one node; "
                "name a cluster, or take one node"
            )

    def devices_of_a_run(self, otherwise: int) -> int:
        """All of its nodes together; of one node without GPUs `otherwise`, which its CPU pretends to be."""
        return self.nodes * self.gpus or (self.nodes if self.nodes > 1 else otherwise)
