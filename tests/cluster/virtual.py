"""A SLURM cluster of two virtual nodes on this machine, reachable on loopback alone.

    python -m tests.cluster.virtual install        # root, apt-get; once
    python -m tests.cluster.virtual start FOLDER   # prints what to set so that sbatch finds it
    python -m tests.cluster.virtual stop FOLDER

All daemons run as root with their files in FOLDER; nothing of the system's own
configuration is read or changed.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")
HOST = socket.gethostname().split(".")[0]
# A step's processes meet on its first node, so its name is one that the machine can resolve.
NODES = (HOST, f"{HOST}-2")
START_SECONDS = 30

CONFIG = """\
ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=all Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""


class CannotStart(RuntimeError):
    """Why there can be no cluster here."""


def install() -> None:
    """Debian's packages, where they are missing. Raises CannotStart."""
    if not missing():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotStart(f"no {', '.join(missing())}, and only root can install them, with apt-get")
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "text": True}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], **quiet)
        if done.returncode:
            raise CannotStart(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")


def missing() -> list[str]:
    """Programs that are not installed; daemons may lie outside an ordinary user's path."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to reach the cluster of this folder."""
    return {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}


def start(folder: Path) -> None:
    """Start all daemons and wait until both nodes are idle. Raises CannotStart."""
    if missing():
        raise CannotStart(f"no {', '.join(missing())}; as root: python -m tests.cluster.virtual install")
    if os.geteuid() != 0:
        raise CannotStart("SLURM's daemons start jobs as their users, so they must be started by root")
    _write(folder)
    run = {"env": os.environ | environment(folder), "cwd": folder, "capture_output": True, "text": True}
    munge = [f"--{word}={folder}/munge.{end}" for word, end in (("key-file", "key"), ("socket", "socket"))]
    munge += [f"--{word}={folder}/munged.{end}" for word, end in (("pid-file", "pid"), ("log-file", "log"))]
    conf = ["-f", str(folder / "slurm.conf")]
    daemons = [["munged", "--force", *munge, f"--seed-file={folder}/munge.seed"], ["slurmctld", *conf]]
    daemons += [["slurmd", "-N", node, *conf] for node in NODES]
    for daemon in daemons:
        done = subprocess.run(daemon, **run)
        if done.returncode:
            stop(folder)
            raise CannotStart(f"{daemon[0]} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    end = time.monotonic() + START_SECONDS
    while (seen := _idle(run)) != len(NODES):
        if time.monotonic() > end:
            stop(folder)
            raise CannotStart(f"{seen} of {len(NODES)} nodes idle after {START_SECONDS} s; its logs lie in {folder}")
        time.sleep(0.2)


def stop(folder: Path) -> None:
    """End all jobs and daemons of this folder, and wait for them."""
    if (folder / "slurmctld.pid").exists():
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["scancel", "--user=root"], env=os.environ | environment(folder), capture_output=True, timeout=10
            )
    names = ("slurmctld", *(f"slurmd-{node}" for node in NODES), "munged")
    pids = [pid for name in names if (pid := _pid(folder / f"{name}.pid"))]
    for act in (lambda pid: os.kill(pid, signal.SIGTERM), _wait_for_end):
        for pid in pids:
            with suppress(ProcessLookupError):
                act(pid)


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _write(folder: Path) -> None:
    """The configuration, the key, and the folders for state."""
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munged distrusts a folder that others may write to
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={HOST} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
        for node, port in zip(NODES, ports[1:], strict=True)
    )
    (folder / "slurm.conf").write_text(CONFIG.format(host=HOST, port=ports[0], folder=folder, nodes=nodes))


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in taken]
    for server in taken:
        server.close()
    return ports


def _idle(run: dict) -> int:
    done = subprocess.run(["sinfo", "--noheader", "--partition=all", "--Node", "--format=%T"], **run)
    return done.stdout.split().count("idle")


def _pid(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() and file.read_text().strip() else None


def _wait_for_end(pid: int) -> None:
    """Until a process is gone; past ten seconds, end it."""
    for _ in range(100):
        os.kill(pid, 0)  # raises when it is gone
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


def main() -> None:
    match sys.argv[1:]:
        case ["install"]:
            install()
        case ["start", folder]:
            start(Path(folder).absolute())
            print(f"export SLURM_CONF={Path(folder).absolute() / 'slurm.conf'}")
        case ["stop", folder]:
            stop(Path(folder).absolute())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except CannotStart as error:
        sys.exit(str(error))
