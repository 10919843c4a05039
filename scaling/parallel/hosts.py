"""Many hosts: processes that train one run together, each with the devices of its host.

Who belongs together is told by the environment: three variables of our own
come first, then what `jax.distributed.initialize` detects by itself (Open MPI,
SLURM, TPU pods, Kubernetes). JAX is imported where it is used, so that a
command may ask `cluster` before and stay quick.
"""

import logging
import os
import sys
import threading
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

log = logging.getLogger(__name__)

JOIN_SECONDS = 300  # until all processes have come
SPARE_SECONDS = 30  # more, which JAX is given, so that it is not the first to end the process
DEAD_SECONDS = 60  # without a sign of life, after which a process counts as dead and the others end
EXPLICIT = ("SCALING_COORDINATOR", "SCALING_PROCESSES", "SCALING_PROCESS_ID")
HOW = (
    "every process needs SCALING_COORDINATOR=HOST:PORT (of process 0, the port free there), SCALING_PROCESSES=N "
    "and SCALING_PROCESS_ID=0 to N-1; with SCALING_PROCESSES=1 a process trains alone"
)


class Joined(NamedTuple):
    """What the three variables say."""

    coordinator: str
    processes: int
    process: int


def cluster() -> str | None:
    """What says that there may be several processes; None where there is one for certain. Raises for a wrong setting.

    Kubernetes and a bare TPU machine are asked only when joining: there the
    number of processes is known to a server, and may be one.
    """
    if any(os.environ.get(name) for name in EXPLICIT):
        return "SCALING_PROCESSES" if _explicit().processes > 1 else None
    if _count("OMPI_COMM_WORLD_SIZE") > 1:
        return "Open MPI"
    # Outside a job step (srun), SLURM_NTASKS is what may be started, not what runs.
    if "SLURM_STEP_NODELIST" in os.environ and _count("SLURM_NTASKS") > 1:
        return "SLURM"
    if _tpu():
        return "TPU"
    if "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ:
        return "Kubernetes"
    return None


def join(seconds: int = JOIN_SECONDS) -> None:
    """Join the other processes, before JAX is used; nothing where there is one.

    seconds: to wait for all; then this process ends. Raises ValueError where
    the environment is wrong, ConnectionError where JAX finds out that nobody
    can be joined.
    """
    where = cluster()
    if where is None:
        return
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # read when the CPU's backend starts
    # JAX would take SIGTERM for itself, and the loop would not hear that it is to stop.
    jax.config.update("jax_enable_preemption_service", False)
    log.info("joining the other processes, told by %s; waiting at most %d s", where, seconds)
    # JAX itself would abort then, with a trace of its own insides.
    late = threading.Timer(seconds, _give_up, (_apart(where, f"waited for {seconds} s"),))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            **_arguments(where),
            initialization_timeout=seconds + SPARE_SECONDS,
            heartbeat_timeout_seconds=DEAD_SECONDS,
            shutdown_timeout_seconds=DEAD_SECONDS,
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ConnectionError(_apart(where, f"{type(error).__name__}: {error}")) from error
    finally:
        late.cancel()
    log.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())


def _apart(where: str, why: str) -> str:
    return (
        f"the processes told by {where} did not come together ({why}); see that all are started and reach the first, "
        f"or say who they are: {HOW}"
    )


def _give_up(message: str) -> None:
    """End this process, whose main thread waits inside JAX."""
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def is_first() -> bool:
    """Whether this is the process that writes and decides."""
    import jax

    return jax.process_index() == 0


def several() -> bool:
    import jax

    return jax.process_count() > 1


def everyones(*values: int) -> np.ndarray:
    """The values of all processes, (processes, values) int32, in each of them.

    All must ask at the same point of their work: this waits for them, and for
    what was dispatched before.
    """
    if not several():
        return np.array([values], np.int32)
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(np.array(values, np.int32))


def firsts(value: int) -> int:
    """The value of the first process, in all of them."""
    return int(everyones(value)[0, 0])


def check_alike(what: str, value: object) -> None:
    """Raise ValueError in every process unless all have the same value; told by its text."""
    sums = everyones(zlib.crc32(repr(value).encode()) >> 1)[:, 0]  # one bit less: int32
    if different := np.flatnonzero(sums != sums[0]).tolist():
        raise ValueError(
            f"{what}: process {different[0]} has another than process 0; start all processes with the same options, "
            "or each alone with SCALING_PROCESSES=1"
        )


def _explicit() -> Joined:
    """The three variables, checked. One process needs no address."""
    values = {name: os.environ.get(name, "") for name in EXPLICIT}
    if values["SCALING_PROCESSES"] == "1":
        return Joined("", 1, 0)
    for name, value in values.items():
        if not value:
            raise ValueError(f"{name} is not set, but {next(n for n in EXPLICIT if values[n])} is; {HOW}")
        if name != "SCALING_COORDINATOR" and not value.isdecimal():
            raise ValueError(f"{name}={value!r} is no whole number; {HOW}")
    coordinator, processes, process = values["SCALING_COORDINATOR"], *map(int, list(values.values())[1:])
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"SCALING_COORDINATOR={coordinator!r} is no HOST:PORT; {HOW}")
    if process >= processes:
        raise ValueError(f"SCALING_PROCESS_ID={process} with SCALING_PROCESSES={processes}; {HOW}")
    return Joined(coordinator, processes, process)


def _arguments(where: str) -> dict[str, Any]:
    """Of jax.distributed.initialize; what is left out it detects."""
    if where == "SCALING_PROCESSES":
        found = _explicit()
        return {
            "coordinator_address": found.coordinator,
            "num_processes": found.processes,
            "process_id": found.process,
            "cluster_detection_method": "deactivate",
        }
    # JAX takes one GPU for each SLURM task, the one of its local number; a task that has a node to itself gets all.
    alone = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "").split("(")[0] == "1"
    if where == "SLURM" and alone and "JAX_LOCAL_DEVICE_IDS" not in os.environ and _count("SLURM_GPUS_ON_NODE") > 1:
        return {"local_device_ids": list(range(_count("SLURM_GPUS_ON_NODE")))}
    return {}


def _count(name: str) -> int:
    """A number that a scheduler has set; 0 where it has not."""
    value = os.environ.get(name, "0")
    if not value.isdecimal():
        raise ValueError(f"{name}={value!r} is no whole number; {HOW}")
    return int(value)


def _tpu() -> bool:
    """Whether this is a TPU machine, of which there may be others."""
    if os.environ.get("JAX_PLATFORMS", "tpu").split(",")[0] not in ("tpu", ""):
        return False
    hosts = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get("TPU_WORKER_HOSTNAMES") or ""
    if "," in hosts or _count("MEGASCALE_NUM_SLICES") > 1:
        return True
    if hosts or "TPU_SKIP_MDS_QUERY" in os.environ or find_spec("libtpu") is None:
        return False
    # Google Cloud's own machines: how many there are, a server of theirs tells JAX.
    return any(Path("/dev").glob("accel[0-9]*"))
