"""The rows that a law is fitted to, checked: columns, target, and who shares noise with whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.law import Law
from analysis.tables.read import LETTERS, frame, numbers
from analysis.words import plural

SAME = np.log(1.1)  # logs of ratios within 10% count as one
SAME_SIZE = 0.01  # relative


class FitError(ValueError):
    """These rows cannot identify this law. `name` is that of the reason, the message says what is missing."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a fit saw. n rows."""

    columns: dict[str, np.ndarray]  # (n,) or (n, K) each
    target: np.ndarray  # (n,) natural units
    clusters: tuple[str, ...]  # rows of one cluster share noise
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.target)


def read_rows(law: Law, data: Any, columns: Mapping[str, str] | None = None) -> Rows:
    """The columns that the law needs, from a table of any kind. FitError names a row that cannot be used."""
    table = frame(data, columns)
    ids = _texts(table, "run_id") or tuple(f"row {i + 1}" for i in range(table.num_rows))
    found = {name: read_column(table, name) for name in law.columns}
    target = read_column(table, law.target)
    for name, values in {**found, law.target: target}.items():
        _check_values(law, name, values, ids)
    return Rows(columns=found, target=target, clusters=_texts(table, "cluster") or ids, ids=ids)


def read_column(table: pa.Table, name: str) -> np.ndarray:
    """A column as numbers; a law that calls a column N, D, C or L finds what `frame` has called params and so on."""
    return numbers(table, name if name in table.column_names else LETTERS.get(name, name))


def _texts(table: Any, name: str) -> tuple[str, ...]:
    return tuple(str(value) for value in table[name].to_pylist()) if name in table.column_names else ()


def _check_values(law: Law, name: str, values: np.ndarray, ids: tuple[str, ...]) -> None:
    positive = law.in_log if name == law.target else name not in law.may_be_zero
    good = np.isfinite(values) & ((values > 0) | (not positive))
    bad = np.flatnonzero(~good.reshape(len(values), -1).all(1))
    if len(bad):
        raise FitError(
            "bad_values",
            f"{law.name}: {name} of {ids[bad[0]]} is {values[bad[0]]} ({plural(len(bad), 'such row')}); it must be "
            f"finite{' and positive' if positive else ''}: correct or drop those rows",
        )


def check(law: Law, rows: Rows) -> None:
    """Refuse rows that cannot identify the law, saying what is missing."""
    needed = int(law.free.sum()) + 1
    if len(rows) < needed:
        raise FitError(
            "too_few_points",
            f"{law.name}: {plural(len(rows), 'usable run')} for {needed - 1} parameters; "
            f"train at least {needed - len(rows)} more",
        )
    logs = {n: np.log(v) for n, v in rows.columns.items() if n not in law.may_be_zero and v.ndim == 1}
    for name, values in logs.items():
        if np.ptp(values) < SAME_SIZE and law.free.sum() > 1:
            raise FitError(
                "one_value", f"{law.name}: {name} has one value, {np.exp(values[0]):.4g}; add runs at others"
            )
    if len(logs) > 1:
        _check_collinear(law, logs)


def _check_collinear(law: Law, logs: dict[str, np.ndarray]) -> None:
    """When one column follows the others by a power law, only a mixture of the exponents shows (SCIENCE, trap 6)."""
    names = tuple(logs)
    for name in names:
        others = [other for other in names if other != name]
        matrix = np.stack([np.ones_like(logs[name]), *(logs[other] for other in others)], axis=1)
        slopes = np.linalg.lstsq(matrix, logs[name], rcond=None)[0]
        if np.ptp(logs[name] - matrix @ slopes) < SAME and np.ptp(logs[name]) >= SAME_SIZE:
            said = " * ".join(f"{other} ** {slope:.3g}" for other, slope in zip(others, slopes[1:], strict=True))
            if len(others) == 1 and abs(slopes[1] - 1) < 0.01:
                ratio = np.exp((logs[name] - logs[others[0]]).mean())
                said = f"one ratio of {name} to {others[0]}, about {ratio:.3g}"
            raise FitError(
                "collinear_design",
                f"{law.name}: in all {len(logs[name])} runs {name} follows {said}: the exponents cannot be told "
                f"apart; add runs of the same {others[0]} at other {name} (isoFLOP groups do)",
            )
