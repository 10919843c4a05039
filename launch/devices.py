"""What this machine offers to train on, found without importing JAX."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The part of the machine that one worker gets."""

    cores: tuple[int, ...] = ()  # to pin to; () leaves it to the system
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def hardware(self) -> str:
        """Name in `scaling.hardware.HARDWARE` that prices it; which accelerator it is, is not known without JAX."""
        return "cpu-core" if self.cores else "h100-sxm"


def slots(workers: int | None = None) -> list[Slot]:
    """One slot an NVIDIA GPU or one for all TPU cores, if JAX can use them; else one a core.

    workers: at most so many slots; on CPU, exactly so many, which share the cores.
    """
    gpus = sorted(Path("/dev").glob("nvidia[0-9]*")) if _jax_has_cuda() else []
    if gpus:
        return [Slot(environment=(("CUDA_VISIBLE_DEVICES", str(index)),)) for index in range(len(gpus))][:workers]
    if find_spec("libtpu") and list(Path("/dev").glob("accel*")):
        return [Slot()]
    cores = sorted(usable_cores())
    count = workers or len(cores)
    if count > len(cores):
        raise ValueError(f"--workers {count}: this machine has {len(cores)} cores for them; ask for at most that")
    # JAX_PLATFORMS: a broken accelerator plugin must not keep a CPU run from starting.
    return [Slot(cores=tuple(cores[index::count]), environment=(("JAX_PLATFORMS", "cpu"),)) for index in range(count)]


def usable_cores() -> set[int]:
    """The cores this process may run on; where the system cannot say (macOS), all."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _jax_has_cuda() -> bool:
    return any(find_spec(name) for name in ("jax_cuda12_plugin", "jax_cuda13_plugin"))
