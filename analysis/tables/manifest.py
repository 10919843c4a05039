"""What a study set out to do, as the launcher wrote it down."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    run_id: str
    role: str  # "trunk" or "cell"
    budget: float | None  # FLOPs of the isoFLOP group
    arm: str = ""  # what it is compared as


@dataclass(frozen=True, kw_only=True)
class AskedMixture:
    """A mixture that a law is to predict as the best. K parts."""

    proxies: str  # the arm that the law is fitted to
    arm: str  # of the run on the mixture
    parts: tuple[str, ...]  # (K,)
    target: tuple[float, ...]  # (K,) weights of the parts' held-out losses, or none: equal
    least: float  # share of every part
    most: tuple[float, ...]  # (K,) share of each part, or none while it is not known
    weights: tuple[float, ...]  # (K,) decided, or none while it is not


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a study set out to do: its question, and its runs."""

    name: str
    question: str = ""
    published: str = ""
    shows: str = ""
    cannot_show: str = ""
    forecast_flops: float | None = None
    runs: tuple[PlannedRun, ...] = ()
    dropped_rows: int = 0  # that its sweeps left out before anything was planned
    dropped_reasons: tuple[tuple[str, int], ...] = ()  # the commonest, and how many rows each
    best_mixture: AskedMixture | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """What is compared, in the order of the study; empty where it compares nothing."""
        return tuple(dict.fromkeys(run.arm for run in self.runs if run.arm))


def read_manifest(path: Path) -> Manifest:
    """The study that the launcher wrote down; unknown keys are left aside."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        runs = tuple(
            PlannedRun(run_id=run["run_id"], role=run["role"], budget=run.get("budget"), arm=run.get("arm", ""))
            for run in values["runs"]
        )
        texts = {key: str(values.get(key) or "") for key in ("question", "published", "shows", "cannot_show")}
        dropped = values.get("dropped") or {"rows": 0, "reasons": {}}
        return Manifest(
            name=values["name"],
            runs=runs,
            forecast_flops=values.get("forecast_flops"),
            dropped_rows=dropped["rows"],
            dropped_reasons=tuple(dropped["reasons"].items()),
            best_mixture=_asked(values.get("best_mixture")),
            **texts,
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        problem = f"no {error} key" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not a study manifest ({problem}); launch the study again to write it anew") from None


def _asked(found: dict[str, Any] | None) -> AskedMixture | None:
    if found is None:
        return None
    return AskedMixture(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})
