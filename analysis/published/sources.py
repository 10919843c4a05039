"""The published tables, and laws evaluated on them at published points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.engine.double import double
from analysis.engine.evaluate import linearise, rounded
from analysis.law import Law
from analysis.losses import Loss
from analysis.published.check import Check, at_most
from analysis.result import FitResult
from analysis.rows import Rows
from analysis.tables.read import frame, numbers


def load(folder: Path, name: str) -> pa.Table:
    """The table `name`.csv of the folder; ValueError where it is not there."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise ValueError(f"published table {path} is not there; give the folder that holds {path.name} with --folder")
    return frame(path)


def texts(table: pa.Table, name: str) -> np.ndarray:
    """(n,) a column of words."""
    return np.array(table[name].to_pylist(), dtype=object)


def keep(table: pa.Table, **values: Any) -> pa.Table:
    """The rows in which each of these columns holds this value."""
    chosen = np.ones(table.num_rows, bool)
    for name, value in values.items():
        chosen &= texts(table, name) == value
    return table.filter(pa.array(chosen))


def columns(table: pa.Table, **names: str) -> dict[str, np.ndarray]:
    """Columns of the table under other names: `columns(table, loss="loss_c4_val")`."""
    return {ours: numbers(table, theirs) for ours, theirs in names.items()}


def predict(law: Law, data: Any, values: Mapping[str, float]) -> np.ndarray:
    """(n,) the law at each row, from natural parameters."""
    table = frame(data)
    value, _ = linearise(law.form, law.theta(values), {name: numbers(table, name) for name in law.columns})
    return np.exp(value) if law.in_log else value


def objective_at(law: Law, rows: Rows, values: Mapping[str, float], loss: Loss) -> float:
    """The summed loss of a published point."""
    value, _ = linearise(law.form, law.theta(values), rows.columns)
    residuals = (np.log(rows.target) if law.in_log else rows.target) - value
    # Zeros cost nothing; tables of similar size then share the compiled operations.
    filled = np.zeros(rounded(len(residuals)))
    filled[: len(residuals)] = residuals
    with double():
        return float(np.sum(loss.rho(filled, loss.delta)))


def against_point(dataset: str, where: str, ours: FitResult, values: Mapping[str, float]) -> Check:
    """Our objective may not exceed that of the published point on the same rows."""
    published = objective_at(ours.law, ours.rows, values, ours.loss)
    return at_most(dataset, where, "objective, the published point's", published, ours.objective)
