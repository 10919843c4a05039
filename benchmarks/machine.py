"""What numbers are measured on, how busy it is meanwhile, and how they are kept. Imports no JAX."""

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

IDLE_CORES = 0.1  # used by other programs: less than that is an idle machine
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "wandb")
ON_NVIDIA = ("jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": versions(),
        "load_before": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Of the packages that bear on speed, as far as they are installed."""
    found = {}
    for name in (*PACKAGES, *ON_NVIDIA):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def wait_for_idle(patience_seconds: float) -> None:
    """Return when other programs used next to nothing for two seconds, or when patience ends."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        before = busy_seconds()
        time.sleep(2)
        if (busy_seconds() - before) / 2 < IDLE_CORES:
            return


def busy_seconds() -> float:
    """Processor seconds used by all programs since the machine started; 0 where the system does not say."""
    lines = _lines("/proc/stat")
    if not lines:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, lines[0].split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def command() -> str:
    """How this process was called, without the folders of this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def save(result: Mapping[str, Any], path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten: {path}")


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
