"""What a study set out to do, as the launcher wrote it down."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    run_id: str
    role: str  # "trunk" or "cell"
    budget: float | None  # FLOPs of the isoFLOP group
    arm: str = ""  # what it is compared as


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
            **texts,
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        problem = f"no {error} key" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not a study manifest ({problem}); launch the study again to write it anew") from None
