"""What this machine offers to train on, found without importing JAX."""

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

MEMORY_SHARE = 0.9  # of a GPU that several workers take together; each has programs and a context beside it


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The part of the machine that one worker gets."""

    cores: tuple[int, ...] = ()  # to pin to; () leaves it to the system
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def hardware(self) -> str:
        """Name in `scaling.hardware.HARDWARE` that prices it; which accelerator it is, is not known without JAX."""
        return "cpu-core" if self.cores else "h100-sxm"


def slots(workers: int | None = None, devices: int = 1) -> list[Slot]:
    """One slot for as many NVIDIA GPUs as a run takes, or one for all TPU cores, if JAX can use them; else one a core.

    workers: exactly so many slots; on CPU they share the cores, and where
    they are more than the GPUs have room for, some of them share each GPU and
    its memory. devices: that a run takes; a CPU slot pretends to have so many.
    """
    gpus = _gpus() if _jax_has_cuda() else []
    if gpus:
        return _shared(_of_gpus(gpus, devices), workers)
    if find_spec("libtpu") and list(Path("/dev").glob("accel*")):
        return [Slot()]
    cores = sorted(usable_cores())
    count = workers or len(cores)
    if count > len(cores):
        raise ValueError(f"--workers {count}: this machine has {len(cores)} cores for them; ask for at most that")
    # JAX_PLATFORMS: a broken accelerator plugin must not keep a CPU run from starting.
    environment = [("JAX_PLATFORMS", "cpu")]
    if devices > 1:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        environment.append(("XLA_FLAGS", flags.strip()))
    return [Slot(cores=tuple(cores[index::count]), environment=tuple(environment)) for index in range(count)]


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use: a scheduler says which, else all."""
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return given.split(",")
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def _of_gpus(gpus: list[str], devices: int) -> list[Slot]:
    """Neighbours together; those left over stay idle. Of several in a run XLA hides what they tell each other."""
    if devices > len(gpus):
        raise ValueError(
            f"a run takes {devices} devices, but this machine has {len(gpus)} GPUs; make an axis of the placement "
            "smaller"
        )
    hiding = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_enable_latency_hiding_scheduler=true".strip()
    shared = (("XLA_FLAGS", hiding),) if devices > 1 else ()
    groups = [gpus[first : first + devices] for first in range(0, len(gpus) - devices + 1, devices)]
    return [Slot(environment=(("CUDA_VISIBLE_DEVICES", ",".join(group)), *shared)) for group in groups]


def _shared(slots: list[Slot], workers: int | None) -> list[Slot]:
    """So many slots, dealt to the GPUs in turn. Small models leave most of a GPU idle, and JAX takes all its memory."""
    if workers is None or workers <= len(slots):
        return slots[:workers]
    most = -(-workers // len(slots))  # on one GPU
    share = (("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{MEMORY_SHARE / most:.3f}"),)
    return [replace(slots[index % len(slots)], environment=slots[index % len(slots)].environment + share)
            for index in range(workers)]  # fmt: skip


def usable_cores() -> set[int]:
    """The cores this process may run on; where the system cannot say (macOS), all."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _jax_has_cuda() -> bool:
    return any(find_spec(name) for name in ("jax_cuda12_plugin", "jax_cuda13_plugin"))
