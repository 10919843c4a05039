"""With what a run is made: commit, uncommitted changes, packages, machine, command. Never a secret.

Of the environment only what is on a list is kept. The command and the changes
are searched for the values of variables whose names sound like a secret, and
for passwords in addresses; both are struck out. A secret that stands in a
tracked file and nowhere in the environment is not known to be one.
"""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from scaling.disk import writing
from scaling.record import Provenance

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "sentencepiece", "tensorflow-datasets")

STUDY = "SCALING_STUDY"  # which study a process trains for; whoever launches says so
COMMAND = "SCALING_COMMAND"  # what a person typed; processes that it starts inherit it

# What decides how a program is compiled and where it runs.
ALLOWED = (
    "CUDA_VISIBLE_DEVICES",
    "GLIBC_TUNABLES",
    "JOB_COMPLETION_INDEX",
    "LIBTPU_INIT_ARGS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "RAY_JOB_ID",
    "ROCR_VISIBLE_DEVICES",
    "SCALING_PROCESSES",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_PROCID",
    "SLURM_RESTART_COUNT",
    "XLA_FLAGS",
    STUDY,
)
ALLOWED_PREFIX = "JAX_"

PATCH = "changes.patch"
MOST_BYTES = 1_000_000  # of the changes that are kept
NEVER_KEPT = (".env", ".env.*", "*.env", "*.key", "*.pem", "*secret*", "*credential*", ".netrc")  # files, by name
STRUCK_OUT = "***"

_WORDS = r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|(?:API|ACCESS|PRIVATE|SECRET)[_-]?KEY"
_SECRET_NAME = re.compile(rf"(?:{_WORDS})(?!IZER)", re.IGNORECASE)
_SHORTEST_SECRET = 8  # a shorter value would be struck out of innocent words
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SECRET_OPTION = re.compile(rf"(--[\w.-]*(?:{_WORDS})(?:=| +))\S+", re.IGNORECASE)  # --tokens is none


@dataclass(frozen=True)
class _Source:
    """The checkout that this library lies in, as it was when it was first asked for."""

    commit: str  # "" outside a checkout
    digest: str  # SHA-256 of all uncommitted changes; "" where there are none
    patch: bytes  # of them those that may be kept


@cache
def provenance(device_kind: str, devices: int) -> Provenance:
    """Of this process; read once."""
    source = _source(_folder())
    return Provenance(
        git_commit=source.commit,
        git_dirty=source.digest,
        changes_bytes=len(source.patch),
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in PACKAGES},
        device_kind=device_kind,
        devices=devices,
        host_cores=os.cpu_count() or 1,
        host=platform.node(),
        command=_SECRET_OPTION.sub(rf"\g<1>{STRUCK_OUT}", without_secrets(_command())),
        environment=environment(),
    )


def keep_changes(folder: Path) -> None:
    """Write the uncommitted changes of tracked files to `changes.patch` in a run's folder, the first MB of them.

    It is of the last attempt: where nothing is changed now, an earlier one's goes.
    """
    patch, path = _source(_folder()).patch, folder / PATCH
    if not patch:
        return path.unlink(missing_ok=True)
    if len(patch) > MOST_BYTES:
        whole = patch[: patch.rfind(b"\n", 0, MOST_BYTES) + 1]
        patch = whole + f"# cut here: {len(whole)} of {len(patch)} bytes\n".encode()
    with writing(path):
        path.write_bytes(patch)


def environment() -> dict[str, str]:
    """The variables on the list, none that sounds like a secret."""
    return {
        name: without_secrets(value)
        for name, value in sorted(os.environ.items())
        if (name in ALLOWED or name.startswith(ALLOWED_PREFIX)) and not _SECRET_NAME.search(name)
    }


def without_secrets(text: str) -> str:
    """The text without the values of variables that name a secret, and without passwords in addresses."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, STRUCK_OUT)
    return _IN_ADDRESS.sub(STRUCK_OUT, text)


def _command() -> str:
    return os.environ.get(COMMAND) or shlex.join(sys.argv)


def _folder() -> Path:
    return Path(__file__).parent


@cache
def _source(folder: Path) -> _Source:
    """Empty where the folder's files are no part of a checkout, such as an installed package in somebody's project."""
    if not _git(folder, "ls-files", "."):
        return _Source("", "", b"")
    diff = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", "--")
    changes = _git(folder, *diff, ":(top)")
    kept = _git(folder, *diff, ":(top)", *(f":(top,exclude,icase,glob)**/{name}" for name in NEVER_KEPT))
    return _Source(
        commit=_git(folder, "rev-parse", "HEAD").decode().strip(),
        digest=hashlib.sha256(changes).hexdigest() if changes else "",
        # latin-1 reads and writes any bytes as they are.
        patch=without_secrets(kept.decode("latin-1")).encode("latin-1"),
    )


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return b""  # no git here: the record says so with an empty commit
    return done.stdout if done.returncode == 0 else b""
