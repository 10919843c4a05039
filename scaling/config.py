"""What one run learns, as frozen dataclasses, and its identity.

A `RunConfig` says everything that decides what is learned; its hash is the
`run_id`. A `Placement` says where and how fast; it is recorded beside the run
and never hashed. Fields marked `unhashed` say where the data lie, not what
they are: the hash sees their content instead.
"""

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

T = TypeVar("T")

RUN_ID_LENGTH = 16  # hex digits: 64 bits, a collision in 1e6 runs has odds of 3e-8


def _require(condition: bool, found: str, mend: str) -> None:
    if not condition:
        raise ValueError(f"{found}: {mend}")


_frozen = dataclass(frozen=True, kw_only=True)
_strict = with_config(ConfigDict(extra="forbid"))


def unhashed(default: Any) -> Any:
    """A field that does not decide what is learned: a place or a permission."""
    return field(default=default, metadata={"hashed": False})


@_strict
@_frozen
class ModelConfig:
    """A decoder-only transformer (pre-norm)."""

    vocab: int  # rows of the embedding: the tokenizer's size
    dim: int  # residual width
    layers: int
    heads: int  # query heads
    context: int = 128  # training sequence length, tokens
    kv_heads: int | None = None  # key and value heads; None: as many as heads
    mlp_dim: int | None = None  # None: 4 dim (gelu), or 8/3 dim up to a multiple of 8 (swiglu)
    activation: Literal["gelu", "swiglu"] = "swiglu"
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    positions: Literal["rope", "learned", "sinusoidal"] = "rope"
    rope_base: float = 10_000.0
    tied: bool = True  # head shares the embedding matrix
    biases: bool = False  # in every linear map and layernorm
    qk_norm: bool = False  # RMSNorm of queries and keys, per head
    logit_softcap: float | None = None  # logits -> cap * tanh(logits / cap)

    def __post_init__(self) -> None:
        for name in ("vocab", "dim", "layers", "heads", "context"):
            _require(getattr(self, name) > 0, f"ModelConfig.{name}={getattr(self, name)}", "must be positive")
        for name in ("kv_heads", "mlp_dim"):
            value = getattr(self, name)
            _require(value is None or value > 0, f"ModelConfig.{name}={value}", "must be positive, or None")
        _require(self.rope_base > 1, f"ModelConfig.rope_base={self.rope_base}", "must be above 1")
        _require(
            self.dim % self.heads == 0,
            f"ModelConfig.heads={self.heads} does not divide dim={self.dim}",
            f"choose a divisor of {self.dim}",
        )
        _require(
            self.heads % self.key_heads == 0,
            f"ModelConfig.kv_heads={self.kv_heads} does not divide heads={self.heads}",
            f"choose a divisor of {self.heads}",
        )
        _require(
            self.positions != "rope" or self.head_dim % 2 == 0,
            f"ModelConfig: rope rotates pairs, but dim/heads={self.head_dim} is odd",
            "choose heads so that dim/heads is even, or another value of positions",
        )
        _require(
            self.positions != "sinusoidal" or self.dim % 2 == 0,
            f"ModelConfig: sinusoidal positions need an even dim, not {self.dim}",
            "choose an even dim",
        )
        _require(
            self.logit_softcap is None or self.logit_softcap > 0,
            f"ModelConfig.logit_softcap={self.logit_softcap}",
            "must be positive, or None for no cap",
        )

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def key_heads(self) -> int:
        return self.kv_heads or self.heads

    @property
    def hidden_dim(self) -> int:
        """Width of the MLP. SwiGLU's 8/3 keeps its parameters at GELU's 8 dim^2 (Shazeer 2020)."""
        if self.mlp_dim is not None:
            return self.mlp_dim
        return 4 * self.dim if self.activation == "gelu" else -(-8 * self.dim // 3 // 8) * 8


@_strict
@_frozen
class Source:
    """Where text comes from. None of it is hashed: `DataConfig.content` says what it is."""

    kind: Literal["stdlib", "folder", "text", "jsonl", "parquet", "tfds"] = "stdlib"
    path: str = ""  # file or folder, or the TFDS name; empty for stdlib
    field: str = "text"  # field of JSONL, column of Parquet, feature of TFDS

    def __post_init__(self) -> None:
        _require(
            (self.kind == "stdlib") == (self.path == ""),
            f"Source(kind={self.kind!r}, path={self.path!r})",
            "stdlib takes no path, every other kind needs one",
        )


@_strict
@_frozen
class DataConfig:
    """A tokenized corpus and how batches are drawn from it."""

    source: Source = unhashed(Source())
    content: str = ""  # SHA-256 of the documents and the split; "" until the data are prepared
    tokenizer: Literal["bpe", "unigram", "bytes"] = "bpe"
    vocab: int = 512  # pieces, the end-of-document token and the 256 bytes included
    validation_fraction: float = 0.05  # of the documents, by hash of their name
    heldout_sequences: int = 256  # fixed set on which the final loss is measured
    document_attention: bool = False  # tokens see only their own document
    max_epochs: float = unhashed(1.0)  # a run that needs more passes over the data is refused

    def __post_init__(self) -> None:
        _require(
            0 < self.validation_fraction < 1,
            f"DataConfig.validation_fraction={self.validation_fraction}",
            "must lie between 0 and 1",
        )
        _require(
            self.heldout_sequences >= 2,
            f"DataConfig.heldout_sequences={self.heldout_sequences}",
            "a standard error needs at least 2",
        )
        # 256 bytes, end of document, sentencepiece's unknown piece, and two pieces worth training.
        least = 260 if self.tokenizer != "bytes" else 257
        _require(
            self.vocab >= least if self.tokenizer != "bytes" else self.vocab == least,
            f"DataConfig.vocab={self.vocab} with tokenizer={self.tokenizer!r}",
            f"must be {'exactly' if self.tokenizer == 'bytes' else 'at least'} {least}",
        )


@_strict
@_frozen
class OptimConfig:
    """AdamW with decoupled weight decay on matrices (Loshchilov & Hutter 2019)."""

    lr: float = 3e-3  # peak
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # multiplied by the current learning rate
    clip: float = 1.0  # global gradient norm

    def __post_init__(self) -> None:
        for name in ("lr", "eps", "clip"):
            _require(getattr(self, name) > 0, f"OptimConfig.{name}={getattr(self, name)}", "must be positive")
        _require(self.weight_decay >= 0, f"OptimConfig.weight_decay={self.weight_decay}", "must not be negative")
        for name in ("beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, f"OptimConfig.{name}={getattr(self, name)}", "must be in [0, 1)")


@_strict
@_frozen
class ScheduleConfig:
    """The learning rate over a run, as a share of its peak.

    Warm-up is linear. `wsd` holds the peak and cools over the last
    `decay_fraction` of the run by 1 - sqrt (Hägele et al. 2024,
    arXiv:2405.18392); `constant` never cools: it is what a trunk uses.
    """

    kind: Literal["constant", "cosine", "linear", "wsd"] = "wsd"
    warmup_tokens: int = 0
    decay_fraction: float = 0.2  # wsd only
    final_share: float = 0.0  # of the peak, at the last step

    def __post_init__(self) -> None:
        _require(self.warmup_tokens >= 0, f"ScheduleConfig.warmup_tokens={self.warmup_tokens}", "must not be negative")
        _require(
            0 < self.decay_fraction <= 1, f"ScheduleConfig.decay_fraction={self.decay_fraction}", "must be in (0, 1]"
        )
        _require(0 <= self.final_share < 1, f"ScheduleConfig.final_share={self.final_share}", "must be in [0, 1)")


@_strict
@_frozen
class Trunk:
    """The run whose path this run shares up to `tokens`."""

    run_id: str
    tokens: int


@_strict
@_frozen
class RunConfig:
    """Everything that decides what one run learns."""

    model: ModelConfig
    data: DataConfig
    tokens: int  # horizon: tokens seen from the first step on, the trunk's included
    batch: int = 16  # sequences a step
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Literal["float32", "bfloat16"] = "float32"  # of the compute; parameters stay float32
    seed: int = 0  # of the initialisation and the order of the data
    trunk: Trunk | None = None

    def __post_init__(self) -> None:
        _require(
            self.model.vocab == self.data.vocab,
            f"RunConfig: model.vocab={self.model.vocab} but data.vocab={self.data.vocab}",
            "give both the tokenizer's size",
        )
        _require(self.batch > 0, f"RunConfig.batch={self.batch}", "must be positive")
        _require(
            self.tokens > 0 and self.tokens % self.batch_tokens == 0,
            f"RunConfig.tokens={self.tokens} is no positive multiple of batch * context = "
            f"{self.batch} * {self.model.context} = {self.batch_tokens}",
            f"the nearest is {max(1, round(self.tokens / self.batch_tokens)) * self.batch_tokens}",
        )
        _require(
            self.schedule.warmup_tokens <= self.tokens,
            f"RunConfig: warm-up of {self.schedule.warmup_tokens} tokens outlasts the run's {self.tokens}",
            "shorten schedule.warmup_tokens",
        )
        if self.trunk is not None:
            _require(
                0 < self.trunk.tokens <= self.tokens and self.trunk.tokens % self.batch_tokens == 0,
                f"RunConfig.trunk.tokens={self.trunk.tokens}",
                f"must be a multiple of {self.batch_tokens} up to tokens={self.tokens}",
            )

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.model.context

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    @property
    def cluster(self) -> str:
        """Runs that share a trunk share its noise: the unit of the bootstrap."""
        return self.trunk.run_id if self.trunk else run_id(self)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Runs of equal shape share one compiled step."""
        data = self.data
        return (self.model, self.batch, self.precision, data.document_attention, data.heldout_sequences)


@_strict
@_frozen
class Placement:
    """Where and how a run is trained; recorded, never hashed."""

    microbatches: int = 1  # gradient accumulation: the batch is cut into so many parts
    checkpoint_seconds: float = 60.0  # between two checkpoints of a running run
    log_steps: int = 10  # between two points of the curve
    tracking: Literal["offline", "online", "off"] = "offline"


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain data, every field visible."""
    return {f.name: to_dict(value) if is_dataclass(value := getattr(config, f.name)) else value for f in fields(config)}


def from_dict(kind: type[T], values: dict[str, Any], where: str) -> T:
    """The config that `to_dict` wrote, validated; `where` names the file for the error."""
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or kind.__name__
        if first["type"] == "value_error":  # ours: it already says what was found
            raise ValueError(f"{where}: {first['ctx']['error']}") from None
        raise ValueError(f"{where}: {path}: {first['msg']} (found {first['input']!r})") from None


def hashed_payload(config: Any) -> dict[str, Any]:
    """The fields that decide what is learned and differ from their frozen default.

    Leaving out defaults lets a later version add a field and keep old ids.
    """
    payload = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata.get("hashed", True) and (f.default is MISSING or value != f.default):
            payload[f.name] = hashed_payload(value) if is_dataclass(value) else value
    return payload


@cache
def _part(config: Any) -> tuple[Any, dict[str, Any]]:
    """A part of a run, validated, and its hashed payload. Thousands of runs share a few models and data sets."""
    canonical = from_dict(type(config), to_dict(config), "run_id")
    return canonical, hashed_payload(canonical)


@cache
def run_id(run: RunConfig) -> str:
    """SHA-256 of the canonical JSON of what is learned, cut to 16 hex digits."""
    # Validation turns 1 into 1.0 where a float is meant: both are one run.
    given = {f.name: getattr(run, f.name) for f in fields(run)}
    parts = {name: _part(value) for name, value in given.items() if is_dataclass(value)}
    canonical = from_dict(RunConfig, given | {name: part[0] for name, part in parts.items()}, "run_id")
    payload = {}
    for f in fields(canonical):
        value = getattr(canonical, f.name)
        if f.default is MISSING or value != f.default:
            payload[f.name] = parts[f.name][1] if f.name in parts else value
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:RUN_ID_LENGTH]


@cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)
