"""What a user may say of SLURM jobs, checked before anything is queued."""

import re
import shlex
from dataclasses import dataclass
from typing import Annotated

import tyro

NOTICE_SECONDS = 30  # beyond the grace of a run, to end its processes and queue it again
OURS = frozenset(("array", "dependency", "hold", "job-name", "no-requeue", "open-mode", "output", "requeue", "signal"))

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


def _option(name: str, meaning: str) -> object:
    """Named in full: a study may have a parameter of the same name."""
    return tyro.conf.arg(name=f"slurm.{name}", prefix_name=False, help=meaning)


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """With --on slurm; what is not given is the cluster's default."""

    partition: Annotated[str | None, _option("partition", "Where to queue")] = None
    account: Annotated[str | None, _option("account", "Who pays")] = None
    qos: Annotated[str | None, _option("qos", "Quality of service")] = None
    time: Annotated[
        str | None, _option("time", "Limit of one attempt, as sbatch takes it: 90 (minutes), 24:00:00, 2-12")
    ] = None
    nodes: Annotated[int, _option("nodes", "That one run takes, with one process each")] = 1
    gpus: Annotated[int, _option("gpus", "Of each node; 0 trains on CPUs")] = 0
    cpus: Annotated[int | None, _option("cpus", "Of each node")] = None
    memory: Annotated[str | None, _option("memory", "Of each node, such as 64G")] = None
    at_once: Annotated[int | None, _option("at-once", "Runs under way at the same time, at most")] = None
    extra: Annotated[
        tuple[str, ...], _option("extra", "More sbatch options, without their dashes: constraint=h100 exclusive")
    ] = ()

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(r"[\w.,@+-]+", value):
                raise ValueError(f"--slurm.{name} {value!r}: give a name as sbatch takes it")
        for name in ("nodes", "cpus", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--slurm.{name.replace('_', '-')} {value}: must be positive")
        if self.gpus < 0:
            raise ValueError(f"--slurm.gpus {self.gpus}: must not be negative")
        if self.memory is not None and not re.fullmatch(r"\d+[KMGT]?", self.memory):
            raise ValueError(f"--slurm.memory {self.memory!r}: give a number of megabytes, or one with K, M, G or T")
        if self.time is not None:
            seconds_of(self.time)
        for line in self.extra:
            _check_extra(line)

    def devices_of_a_run(self, otherwise: int) -> int:
        """All of its nodes together; of one node without GPUs `otherwise`, which its CPU pretends to be."""
        return self.nodes * self.gpus or (self.nodes if self.nodes > 1 else otherwise)

    def lines(self) -> list[str]:
        """Options of sbatch, as its script takes them."""
        given = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time,
            "nodes": self.nodes,
            "ntasks-per-node": 1,
            "cpus-per-task": self.cpus,
            "gpus-per-node": self.gpus or None,
            "mem": self.memory,
        }
        return [f"--{name}={value}" for name, value in given.items() if value is not None] + [
            f"--{name}{equals}{quoted(value)}" for name, equals, value in (line.partition("=") for line in self.extra)
        ]

    def check_notice(self, grace_seconds: float) -> int:
        """How long before its time limit a run is told to stop. Raises ValueError where that is most of the limit.

        SLURM looks at its clock once a minute and may speak up to a minute too early.
        """
        notice = int(grace_seconds) + NOTICE_SECONDS
        if self.time is not None and seconds_of(self.time) < 2 * notice:
            raise ValueError(
                f"--slurm.time {self.time}: a run is told to stop {notice} s before its limit ({NOTICE_SECONDS} s and "
                f"--grace-seconds {grace_seconds:g}), and would have less than that to train; give it more time"
            )
        return notice


def quoted(value: str) -> str:
    """For a line of `#SBATCH`, which is read like a shell's."""
    return shlex.quote(value) if value else ""


def seconds_of(time: str) -> int:
    """Of a time limit as sbatch takes it: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    found = _TIME.fullmatch(time)
    if found is None:
        raise ValueError(f"--slurm.time {time!r}: give minutes, HH:MM:SS or D-HH:MM:SS")
    parts = [int(part) for part in found["clock"].split(":")]
    if found["days"] is None and len(parts) < 3:
        parts.insert(0, 0)  # minutes come first
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return ((int(found["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _check_extra(line: str) -> None:
    name, _, value = line.partition("=")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or not value.isprintable() or "\\" in value:
        raise ValueError(f"--slurm.extra {line!r}: give one option of sbatch without its dashes, as in constraint=h100")
    if name in OURS:
        raise ValueError(f"--slurm.extra {line!r}: {name} is set for every array; leave it out")
