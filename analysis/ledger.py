"""Forecasts that are written down before the run, and scored after it.

A forecast is a JSON file with everything it rests on (the hash of the table,
the law, its parameters and their covariance at full precision, the loss
function) and a digest of itself, so that a later change shows. Its score is a
second file beside it; neither is ever overwritten. A digest guards against
mistakes, not against somebody who computes it again: commit the files, or send
the digest to somebody, where that matters.

Reading runs no code, and no name in a file is used as a path.
"""

import hashlib
import json
import math
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from scipy.special import betaincinv, ndtri

from analysis.forecast import Forecast
from analysis.result import FitResult
from analysis.tables.table import table_hash
from analysis.words import flops as budget_words
from analysis.words import plural, short

LEVEL = 0.95  # of every interval here
SAME_RUN = 0.05  # relative: a run further from the target than this is another run
FORECAST = "scaling forecast"  # the kind of file
SUFFIX, SCORE_SUFFIX = ".json", ".score.json"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Written:
    """A forecast as it was written down."""

    kind: Literal["scaling forecast"] = "scaling forecast"
    schema: Literal[1] = 1
    date: str  # UTC, as the caller gave it
    note: str
    table_hash: str
    table_rows: int
    law: str
    formula: str
    parameters: dict[str, float]
    held: dict[str, float]  # parameters that were not fitted
    theta: list[float]  # (P,) ln of amounts, other parameters as they are
    theta_cov: list[list[float]]  # (P, P)
    loss_function: str
    params: float  # of the run to come, as the next two
    tokens: float
    flops: float
    ratio: float  # its FLOPs over the largest of the table
    loss: float  # predicted, nats a token
    low: float  # 95% interval of one run
    high: float
    law_low: float  # of the curve alone
    law_high: float
    warnings: list[str]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Score:
    """What a run reached against its forecast."""

    kind: Literal["scaling score"] = "scaling score"
    schema: Literal[1] = 1
    forecast: str  # the digest of the forecast
    date: str
    run_id: str
    note: str
    loss: float  # measured, nats a token
    error: float  # ln measured - ln predicted: negative when the run came out better
    inside: bool  # the 95% interval of one run
    z: float  # error in standard deviations of the interval


@dataclass(frozen=True, kw_only=True)
class Entry:
    file: str  # relative to the ledger's folder
    forecast: Written
    score: Score | None


@dataclass(frozen=True, kw_only=True)
class Broken:
    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All forecasts of a folder, by date."""

    entries: tuple[Entry, ...]
    broken: tuple[Broken, ...]  # files that cannot be trusted; none of them is counted

    @property
    def scores(self) -> tuple[Score, ...]:
        return tuple(entry.score for entry in self.entries if entry.score)

    @property
    def coverage(self) -> float:
        """Share of the scored runs inside their 95% interval; NaN without scores, as the next."""
        return float(np.mean([score.inside for score in self.scores])) if self.scores else math.nan

    @property
    def error(self) -> float:
        """Mean signed error."""
        return float(np.mean([score.error for score in self.scores])) if self.scores else math.nan

    @property
    def coverage_interval(self) -> tuple[float, float]:
        """95% interval of the true coverage (Clopper & Pearson 1934); (0, 1) without scores."""
        return binomial_interval(sum(score.inside for score in self.scores), len(self.scores))

    def text(self) -> str:
        """A table for a terminal."""
        if not self.entries and not self.broken:
            return "no forecasts here"
        head = ("date", "FLOPs", "reach", "law", "predicted, 95% of a run", "reached", "error", "file")
        lines = [head, *(_line(entry) for entry in self.entries)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        said = ["  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        if self.scores:
            low, high = self.coverage_interval
            said.append(
                f"{plural(len(self.scores), 'scored forecast')}: 95% intervals held {self.coverage:.0%} "
                f"(true coverage between {low:.0%} and {high:.0%}), mean error {self.error:+.2%}"
            )
        said += [f"not counted: {_plain(item.file)}: {item.reason}" for item in self.broken]
        return "\n".join(said)


def write_forecast(
    path: Path | str, forecast: Forecast, *, table: pa.Table, fit: FitResult, note: str, date: str
) -> Written:
    """Write down a forecast for its run to come; its digest stands at the end of the file.

    table: the runs that were fitted. fit: the law that the forecast is by. date:
    UTC, ISO 8601. Raises ValueError when the file exists, when its name does not
    end in .json, or when the forecast has no finite interval.
    """
    path = Path(path)
    if path.suffix != SUFFIX or path.name.endswith(SCORE_SUFFIX):
        raise ValueError(f"{path}: a forecast's file ends in {SUFFIX}, and not in {SCORE_SUFFIX}")
    run, curve = forecast.run, forecast.loss
    if not 0 < run.low < run.high < math.inf:
        raise ValueError(
            f"the forecast {run.value:.4g} [{run.low:.4g}, {run.high:.4g}] has no interval; nothing written"
        )
    body = {
        "date": _date(date), "note": note, "table_hash": table_hash(table), "table_rows": table.num_rows,
        "law": fit.law.name, "formula": fit.law.formula, "parameters": fit.params, "held": dict(fit.law.fixed),
        "theta": fit.theta.tolist(), "theta_cov": fit.theta_cov.tolist(), "loss_function": fit.loss.describe(),
        "params": forecast.params.value, "tokens": forecast.tokens.value, "flops": forecast.flops,
        "ratio": forecast.ratio, "loss": run.value, "low": run.low, "high": run.high, "law_low": curve.low,
        "law_high": curve.high, "warnings": [doubt.text for doubt in forecast.warnings],
    }  # fmt: skip
    written = _validated(Written, body, path)
    _write_new(path, asdict(written))
    return written


def read_forecast(path: Path | str) -> tuple[Written, str]:
    """A forecast and its digest. ValueError when the file is not whole, was edited, or is something else."""
    body, digest = _read(Path(path))
    return _validated(Written, body, Path(path)), digest


def score(
    path: Path | str, loss: float, *, date: str, params: float | None = None, tokens: float | None = None,
    flops: float | None = None, run_id: str = "", note: str = "",
) -> Score:  # fmt: skip
    """Compare a forecast with what the run reached, and write `<name>.score.json` beside it.

    loss: measured, nats a token. params, tokens, flops: of the run; when they are
    given they must be within 5% of the forecast's. Raises ValueError for another
    run, a forecast that was edited, a date before the forecast's, or a score that exists.
    """
    path = Path(path)
    forecast, digest = read_forecast(path)
    if not 0 < loss < math.inf:
        raise ValueError(f"score: loss={loss}: must be finite and positive, in nats a token")
    for name, value in (("params", params), ("tokens", tokens), ("flops", flops)):
        goal = getattr(forecast, name)
        if value is not None and not abs(value / goal - 1) <= SAME_RUN:
            raise ValueError(
                f"{path}: the forecast is for {name} {goal:.6g}, the run has {value:.6g}: more than {SAME_RUN:.0%} "
                "apart, so it is another run"
            )
    if _moment(_date(date)) < _moment(forecast.date):
        raise ValueError(f"{path}: scored on {date}, before the forecast was made on {forecast.date}")
    made = _scored(forecast, digest, loss, date=date, run_id=run_id, note=note)
    _write_new(_score_path(path), asdict(made))
    return made


def ledger(folder: Path | str) -> Ledger:
    """All forecasts below a folder with their scores. Files of other kinds are passed over.

    A forecast or a score that cannot be trusted is listed with its reason and not counted.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the one that holds the forecasts")
    entries, broken = [], []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        if path.name.endswith(SCORE_SUFFIX):
            continue
        file = path.relative_to(folder).as_posix()
        try:
            if _kind(path) == FORECAST:
                forecast, digest = read_forecast(path)
                entries.append(Entry(file=file, forecast=forecast, score=_read_score(path, forecast, digest)))
        except ValueError as error:
            broken.append(Broken(file=file, reason=str(error)))
    return Ledger(entries=tuple(sorted(entries, key=lambda e: (e.forecast.date, e.file))), broken=tuple(broken))


def binomial_interval(inside: int, total: int) -> tuple[float, float]:
    """95% interval of a share, `inside` of `total` (Clopper & Pearson 1934): exact, and never too short."""
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(inside, total - inside + 1, tail)) if inside else 0.0
    high = float(betaincinv(inside + 1, total - inside, 1 - tail)) if inside < total else 1.0
    return low, high


def _scored(forecast: Written, digest: str, loss: float, *, date: str, run_id: str, note: str) -> Score:
    error = math.log(loss / forecast.loss)
    deviation = math.log(forecast.high / forecast.low) / (2 * float(ndtri((1 + LEVEL) / 2)))
    return Score(
        forecast=digest, date=_date(date), run_id=run_id, note=note, loss=loss, error=error,
        inside=forecast.low <= loss <= forecast.high, z=error / deviation,
    )  # fmt: skip


def _read_score(path: Path, forecast: Written, digest: str) -> Score | None:
    """The score beside a forecast, computed anew from the loss that it holds."""
    beside = _score_path(path)
    if not beside.exists():
        return None
    found = _validated(Score, _read(beside)[0], beside)
    if found.forecast != digest:
        raise ValueError(f"{beside}: is the score of another forecast; score this one again under another name")
    return _scored(forecast, digest, found.loss, date=found.date, run_id=found.run_id, note=found.note)


def _score_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + SCORE_SUFFIX)


def _date(text: str) -> str:
    _moment(text)
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"date={text!r}: give a UTC date such as 2030-01-31 or 2030-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _write_new(path: Path, body: dict[str, Any]) -> None:
    """Write a file that must not be there yet. One that a crash cuts short has no valid digest."""
    text = json.dumps({**body, "digest": _digest(body)}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ValueError(f"{path}: exists, and what was written down is never changed; give another name") from None


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}); restore it from a copy") from None


def _kind(path: Path) -> str:
    body = _load(path)
    return str(body.get("kind", "")) if isinstance(body, dict) else ""


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """What a file says without its digest, and the digest, which must match."""
    body = _load(path)
    if not isinstance(body, dict) or "digest" not in body:
        raise ValueError(f"{path}: holds no forecast and no score")
    digest = body.pop("digest")
    if digest != _digest(body):
        raise ValueError(f"{path}: edited after it was written (its digest does not match); restore it from a copy")
    return body, digest


def _validated(kind: type, body: dict[str, Any], path: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}") from None


def _line(entry: Entry) -> tuple[str, ...]:
    made, got = entry.forecast, entry.score
    return (
        made.date, budget_words(made.flops), f"{short(made.ratio)}x", _plain(made.law),
        f"{made.loss:.4f} [{made.low:.4f}, {made.high:.4f}]", f"{got.loss:.4f}" if got else "not run yet",
        (f"{got.error:+.2%}" + ("" if got.inside else " OUTSIDE")) if got else "", _plain(entry.file),
    )  # fmt: skip


def _plain(text: str) -> str:
    """Nothing that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
