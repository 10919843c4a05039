"""Training curves for a page: read while they grow, thinned to what a figure can show."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling.curve import read_final
from scaling.record import RecordError, RunDirectory

FIELDS = ("step", "tokens", "flops", "loss", "step_seconds")
SPEED_STEPS = 20  # of which the speed now is the mean


@dataclass(frozen=True, kw_only=True)
class Thin:
    """Means of neighbouring steps."""

    flops: np.ndarray  # (n,)
    loss: np.ndarray  # (n,) finite


class GrowingCurve:
    """The rows of one run's curve; each look reads only what was added since the last one."""

    def __init__(self, directory: RunDirectory):
        self._directory = directory
        self._read_to, self._file = 0, None
        self.rows: list[tuple[float, ...]] = []  # FIELDS of each step
        self.problem = ""  # with the file of an ended run

    def look(self) -> None:
        """Take up new rows. A resumed run writes its file anew, an ended one turns it into Parquet."""
        live, final = self._directory.live_curve, self._directory.curve
        path = final if final.exists() else live
        try:
            found = path.stat()
        except FileNotFoundError:
            return
        if self._file != (path, found.st_ino) or found.st_size < self._read_to:
            self._file, self._read_to, self.rows, self.problem = (path, found.st_ino), 0, [], ""
        if found.st_size > self._read_to:
            self.rows += self._compacted(path) if path == final else self._added(path)

    def _added(self, path: Path) -> list[tuple[float, ...]]:
        with path.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        whole = text.rfind(b"\n") + 1  # what follows the last newline is still being written
        self._read_to += whole
        return [row for line in text[:whole].splitlines() if (row := _row(line))]

    def _compacted(self, path: Path) -> list[tuple[float, ...]]:
        self._read_to = path.stat().st_size
        try:
            columns = read_final(path, FIELDS).to_pydict()
        except RecordError as error:  # the other runs are shown
            self.problem = str(error)
            return []
        return list(zip(*(columns[name] for name in FIELDS), strict=True))

    @property
    def last(self) -> dict[str, float] | None:
        return dict(zip(FIELDS, self.rows[-1], strict=True)) if self.rows else None

    def tokens_per_second(self) -> float | None:
        """Over the last steps; None before the second."""
        rows = self.rows[-SPEED_STEPS - 1 :]
        seconds = math.fsum(row[FIELDS.index("step_seconds")] for row in rows[1:])
        place = FIELDS.index("tokens")
        return (rows[-1][place] - rows[0][place]) / seconds if seconds > 0 else None

    def thin(self, per_decade: int) -> Thin:
        """As many points as a decade of compute may have."""
        columns = np.array(self.rows, float).reshape(-1, len(FIELDS)).T
        flops, loss = columns[FIELDS.index("flops")], columns[FIELDS.index("loss")]
        known = np.isfinite(loss) & (flops > 0) & (loss > 0)
        return thinned(flops[known], loss[known], per_decade)


def thinned(flops: np.ndarray, loss: np.ndarray, per_decade: int) -> Thin:
    """(n,) values of ascending FLOPs as means over equal stretches of a logarithmic axis."""
    if not len(loss):
        return Thin(flops=flops, loss=loss)
    place = np.floor(np.log10(flops) * per_decade)
    starts = np.flatnonzero(np.diff(place, prepend=-np.inf))
    counts = np.diff([*starts, len(loss)])
    return Thin(flops=np.add.reduceat(flops, starts) / counts, loss=np.add.reduceat(loss, starts) / counts)


def _row(line: bytes) -> tuple[float, ...] | None:
    """None for a line that is no row: training says what is wrong with it, looking on must not fail."""
    try:
        values: dict[str, Any] = json.loads(line)
        return tuple(math.nan if values[name] is None else float(values[name]) for name in FIELDS)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        return None


def per_decade(curves: Sequence[Any], together: int = 1200, most: int = 30, least: int = 8) -> int:
    """Points of each curve in a decade of compute, so that a figure of many runs stays light."""
    return max(least, min(most, together // max(1, len(curves))))
