"""What a run leaves behind: the only thing analysis ever sees of it.

A run directory holds `config.json` (the whole config), `curve.parquet` (or,
while the run goes on, `curve.jsonl`), `record.json` (written last), `log.txt`,
`attempts.jsonl`, `changes.patch`, `checkpoints/` and the lease of who trains it. Reading any of it executes no code.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json

from scaling.config import RunConfig, from_dict, hashed_payload, run_id, to_dict
from scaling.counts import Flops, Params
from scaling.disk import write_atomic, writing
from scaling.lease import CANCEL

SCHEMA = 1
RECORD = "record.json"
ATTEMPTS = "attempts.jsonl"
OPEN = ("failed", "stopped")  # statuses of runs that may still be trained to their end

_frozen = dataclass(frozen=True, kw_only=True)
_strict = with_config(ConfigDict(extra="forbid"))


class RecordError(ValueError):
    """A run directory that cannot be trusted; the message says how to mend it.

    path: the file at fault.
    """

    def __init__(self, path: Path | str, problem: str):
        super().__init__(f"{path}: {problem}")
        self.path = Path(path)


@_strict
@_frozen
class PartLoss:
    """Final loss over the held-out sequences of one part of a mixture; standard errors are over sequences."""

    loss: float  # nats a loss-bearing token
    loss_se: float
    bits_per_byte: float | None
    bits_per_byte_se: float | None
    sequences: int
    tokens: int  # that bear loss


@_strict
@_frozen
class Heldout:
    """Final loss over the fixed held-out sequences; standard errors are over sequences.

    Of a mixture, the mean of its parts' losses by `Mixture.target`.
    """

    loss: float  # nats a loss-bearing token
    loss_se: float
    bits_per_byte: float | None  # None where the objective predicts no stretch of text from what precedes it
    bits_per_byte_se: float | None
    sequences: int
    tokens: int  # that bear loss
    by_position: dict[int, float] = field(
        default_factory=dict
    )  # mean nats of the tokens up to a place from the one before
    parts: dict[str, PartLoss] = field(default_factory=dict)  # of a mixture, by name; none in older records


@_strict
@_frozen
class PartTokens:
    """What was read of one part of a mixture."""

    seen: int
    unique: int
    epochs: float  # seen / those that the run may read


@_strict
@_frozen
class Tokens:
    """What was read, from the first step on, the trunk's part included."""

    seen: int
    loss_bearing: int
    unique: int
    epochs: float  # seen / those that the run may read, of all parts together
    parts: dict[str, PartTokens] = field(default_factory=dict)  # of a mixture, by name; none in older records
    padding: float | None = None  # share of the positions of a pass over the data that hold no token; not in older ones


@_strict
@_frozen
class Cost:
    """What this run itself took, over all its attempts; a trunk's part is in the trunk's record."""

    wall_seconds: float  # from the start of each attempt to its end, compilation included
    device_seconds: float  # of training steps, times the devices
    started_from_tokens: int  # 0, or where a trunk's checkpoint was taken up
    flops_computed: float  # exact convention, from started_from_tokens on
    attempts: int
    # flops_computed / device_seconds / peak; None where the peak is not known. On CPU the peak is the hardware
    # table's, for a core of one machine: compare it between runs of one machine only.
    mfu: float | None
    energy_kwh: float | None  # device_seconds * the hardware's assumed power; None where the device is not known
    goodput: float | None = None  # seconds of steps whose update was taken / wall_seconds; None in older records
    # Of the first host, making batches: the step before is computed meanwhile, so that a device waits for what
    # exceeds its step's time alone. None in older records.
    data_seconds: float | None = None
    tokens_per_second: float | None = None  # of the text, while steps were trained; None in older records


@_strict
@_frozen
class Provenance:
    """With what a run was made."""

    git_commit: str  # "" outside a checkout
    git_dirty: str  # SHA-256 of the uncommitted diff; "" when clean
    python: str
    packages: dict[str, str] = field(default_factory=dict)
    device_kind: str
    devices: int
    host_cores: int
    # Older records have none of these.
    host: str = ""
    command: str = ""  # as it was typed, secrets struck out
    environment: dict[str, str] = field(default_factory=dict)  # what is on a list of harmless names
    changes_bytes: int = 0  # of the uncommitted changes; `changes.patch` holds at most the first MB


@_strict
@_frozen
class RunRecord:
    """One run that finished, diverged, failed, or was stopped early because it promised to end badly."""

    schema: int = SCHEMA
    run_id: str
    status: Literal["finished", "diverged", "failed", "stopped"]
    message: str = ""  # why it diverged, failed or was stopped
    config: RunConfig
    placement: dict[str, Any] = field(default_factory=dict)
    cluster: str  # runs of one trunk share noise
    heldout: Heldout | None  # None unless finished
    train_loss: float | None  # mean over the last 5% of the steps that were not skipped, nats a token
    skipped_steps: int = 0  # whose update was not taken, from the first step on
    params: Params
    flops: Flops  # of the whole horizon, the trunk's part included
    tokens: Tokens
    cost: Cost
    provenance: Provenance


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def record(self) -> Path:
        return self.path / RECORD

    @property
    def live_curve(self) -> Path:
        return self.path / "curve.jsonl"

    @property
    def curve(self) -> Path:
        return self.path / "curve.parquet"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def attempts(self) -> Path:
        return self.path / ATTEMPTS

    @property
    def cancel(self) -> Path:
        """A request to stop; see `scaling.lease`."""
        return self.path / CANCEL


def write_config(directory: RunDirectory, run: RunConfig) -> None:
    """Claim a directory for a run, or raise if it already holds another one."""
    with writing(directory.path):
        directory.path.mkdir(parents=True, exist_ok=True)
    if not directory.config.exists():
        return write_atomic(directory.config, json.dumps(to_dict(run), indent=1, sort_keys=True))
    found = read_config(directory)
    if found != run and (changed := differences(hashed_payload(found), hashed_payload(run))):
        raise RecordError(
            directory.config,
            f"another config already has this run id; they differ in {'; '.join(changed)}. "
            "Move that directory away, then launch again",
        )


def read_config(directory: RunDirectory) -> RunConfig:
    return from_dict(RunConfig, _load(directory.config), str(directory.config))


def write_record(directory: RunDirectory, record: RunRecord) -> None:
    """Write the record, atomically; a finished one is never overwritten."""
    if directory.record.exists() and read_record(directory.record).status == "finished":
        raise RecordError(directory.record, "this run is finished already and is never trained twice")
    body = _adapter().dump_python(record, mode="json")
    write_atomic(directory.record, json.dumps({**body, "digest": _digest(body)}, indent=1, sort_keys=True))


def read_record(path: Path) -> RunRecord:
    """One record, or RecordError when it is truncated, edited, misplaced or of another schema."""
    body = _untouched(path)
    try:
        record = _adapter().validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(path, f"{where}: {first['msg']}") from None
    if record.run_id != run_id(record.config):
        raise RecordError(path, f"run_id {record.run_id} is not that of its config, {run_id(record.config)}")
    return record


def status_in(directory: RunDirectory) -> str | None:
    """How a run ended, None where it has not; RecordError as in `read_record`."""
    return statuses(directory.path.parent, [directory.path.name])[directory.path.name]


def statuses(runs: Path, names: Iterable[str]) -> dict[str, str | None]:
    """The same of many runs, by run id. runs: the folder that holds theirs.

    What was written by this program and not touched since needs no validation, and a
    path no object: of thousands of runs either takes as long as the reading.
    """
    return {name: _status(os.path.join(runs, name, RECORD), name) for name in names}


def _status(path: str, name: str) -> str | None:
    try:
        body = _untouched(path)
    except FileNotFoundError:
        return None
    if body["run_id"] != name:
        raise RecordError(path, f"is the record of run {body['run_id']}; move it back to that run's folder")
    return body["status"]


def _untouched(path: Path | str) -> dict[str, Any]:
    """The content of a record of this schema whose digest is right."""
    text = _read(path)
    body = _parsed(path, text)
    if body.get("schema") != SCHEMA:
        raise RecordError(
            path,
            f"schema {body.get('schema')!r}, but this version reads schema {SCHEMA}; "
            "read it with the version that wrote it (provenance.git_commit)",
        )
    digest = body.pop("digest", None)
    if not _as_written(text, digest) and digest != _digest(body):
        raise RecordError(path, "edited after it was written (its digest does not match); restore it or train again")
    return body


def read_records(runs: Path) -> Iterator[RunRecord | RecordError]:
    """Every record below `runs`, in order of run id; an unreadable one comes as its error."""
    for path in sorted(runs.glob("*/record.json")):
        try:
            yield read_record(path)
        except RecordError as error:
            yield error


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted paths at which two plain configs differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{path} ({old!r}, now {new!r})"]


def _load(path: Path) -> dict[str, Any]:
    return _parsed(path, _read(path))


def _read(path: Path | str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _parsed(path: Path | str, text: bytes) -> dict[str, Any]:
    try:
        values = from_json(text)  # faster than json.loads
    except ValueError as error:
        raise RecordError(path, f"not whole JSON ({error}); delete it and train this run again") from None
    if not isinstance(values, dict):
        raise RecordError(path, f"holds a {type(values).__name__}, not an object")
    return values


def _as_written(text: bytes, digest: str | None) -> bool:
    """Whether the digest is right, told from a record's text by taking away what makes it readable.

    That is twice as fast as writing the content anew. False says nothing: a
    message may hold what looks like a space between a name and its value.
    """
    if digest is None:
        return False
    squeezed = b"".join(map(bytes.lstrip, text.split(b"\n"))).replace(b'": ', b'":')
    return hashlib.sha256(squeezed.replace(f'"digest":"{digest}",'.encode(), b"", 1)).hexdigest() == digest


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(_compact(body).encode()).hexdigest()


_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    """Made when the first record is written or validated: who only looks on does neither."""
    return TypeAdapter(RunRecord)
