"""Which runs may be fitted: all others are listed with the reason, or refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.doubt import Doubt
from analysis.tables.files import TORN
from analysis.tables.manifest import Manifest, PlannedRun
from analysis.tables.read import numbers
from analysis.tables.units import check_duplicates, check_units, name_rows
from analysis.words import plural

REQUIRED = ("params", "tokens", "flops", "loss")
NOT_TRAINED = {"unreadable", "unfinished"}
NOT_FITTED = NOT_TRAINED | {"diverged", "failed"}
STOPPED = "stopped early: it was expected to end worse than another of its search"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that is not fitted, and why. name: unreadable, mid_decay, not_finished, incomplete or missing."""

    run_id: str
    reason: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows that a law may be fitted to, every row that it may not, and what is doubtful about the first."""

    table: pa.Table
    left_out: tuple[LeftOut, ...]
    doubts: tuple[Doubt, ...] = ()

    def reasons(self) -> dict[str, int]:
        """How many rows were left out for each reason, the most frequent first."""
        return dict(Counter(item.reason for item in self.left_out).most_common())


def select(
    table: pa.Table,
    manifest: Manifest | None = None,
    *,
    drop_incomplete: bool = False,
    trust_flops: bool = False,
    counted: bool = False,
) -> Selection:
    """The finished, decayed rows; with a manifest that names runs only its cells, with their budgets.

    A trunk never reaches a fit: its learning rate has not decayed, and its loss
    lies above that of a run that was meant to end there. ValueError, with the rows,
    for those that would be fitted and have a missing or infinite cell (with
    drop_incomplete they are left out and listed), stand there twice, or cannot be
    runs (`analysis.tables.units`). counted: runs that all took no FLOPs are runs too.

        >>> from analysis.tables.table import read_table
        >>> rows = [{"N": 1e6, "D": 2e7, "loss": 3.5}, {"N": 1e6, "D": 4e7, "status": "diverged"}]
        >>> select(read_table(rows)).left_out
        (LeftOut(run_id='row 2', reason='diverged', name='not_finished'),)
    """
    planned = {run.run_id: run for run in manifest.runs} if manifest else {}
    ids, status, budget = (table[name].to_pylist() for name in ("run_id", "status", "budget"))
    kept, left, budgets = [], [], []
    why = _reasons(table, planned)
    for index, name in enumerate(ids):
        if planned and name not in planned and status[index] != "unreadable":
            continue  # another study's run is no concern of this one; an unreadable file may be ours
        if why[index].reason:
            left.append(why[index])
        else:
            kept.append(index)
            budgets.append(planned[name].budget if planned else budget[index])
    known = set(ids)
    left += [LeftOut(run_id=n, reason="missing: not trained yet", name="missing") for n in planned if n not in known]
    chosen = table.take(pa.array(kept, pa.int64()))
    place = chosen.column_names.index("budget")
    chosen = chosen.set_column(place, "budget", pa.array(budgets, pa.float64()))
    chosen, incomplete = _complete(chosen, drop_incomplete)
    check_duplicates(chosen)
    left += incomplete
    doubts = (*_doubts_of_reading(table, left), *check_units(chosen, trust_flops=trust_flops, counted=counted))
    return Selection(table=chosen, left_out=tuple(left), doubts=doubts)


def _reasons(table: pa.Table, planned: Mapping[str, PlannedRun]) -> list[LeftOut]:
    """For each row why it may not be fitted, with an empty reason where it may."""
    names = ("run_id", "status", "schedule", "message")
    rows = zip(*(table[name].to_pylist() for name in names), _decayed(table), strict=True)
    found = []
    for run_id, status, schedule, message, decayed in rows:
        trunk = schedule == "constant" or (run_id in planned and planned[run_id].role == "trunk")
        name, reason = "", ""
        if status == "unreadable":
            name, reason = "unreadable", f"unreadable: {message}"
        elif trunk:
            name, reason = "mid_decay", "trunk: its learning rate has not decayed"
        elif status == "stopped":
            name, reason = "not_finished", STOPPED
        elif status in NOT_FITTED:
            name, reason = "not_finished", status
        elif status != "finished":
            name, reason = "not_finished", f"its status is {status!r}, and only 'finished' runs are fitted"
        elif not decayed:
            name, reason = "mid_decay", "taken before its learning rate had decayed"
        found.append(LeftOut(run_id=run_id, reason=reason, name=name))
    return found


def _decayed(table: pa.Table) -> np.ndarray:
    """(n,) False where the columns `decayed` or `progress` (of the schedule, 0 to 1) say that it had not ended."""
    decayed = np.ones(table.num_rows, bool)
    for name in ("decayed", "progress"):
        if name in table.column_names:
            decayed &= ~(numbers(table, name) < 1)
    return decayed


def _complete(table: pa.Table, drop: bool) -> tuple[pa.Table, list[LeftOut]]:
    """The rows whose required cells are all finite numbers; the others are left out, or refused."""
    finite = {name: np.isfinite(numbers(table, name)) for name in REQUIRED}
    if not drop:
        for name, good in finite.items():
            if not good.all():
                rows = name_rows(table, np.flatnonzero(~good))
                raise ValueError(
                    f"{name} is missing or not finite in {(~good).sum()} of {len(good)} runs ({rows}); complete them, "
                    "or leave them out: drop_incomplete=True in Python, --drop-incomplete in the shell"
                )
    good = np.all(list(finite.values()), axis=0)
    left = []
    for row in np.flatnonzero(~good):
        first = next(name for name in REQUIRED if not finite[name][row])
        reason = f"{first} is missing or not finite"
        left.append(LeftOut(run_id=table["run_id"][int(row)].as_py(), reason=reason, name="incomplete"))
    return table.filter(pa.array(good)), left


def _doubts_of_reading(table: pa.Table, left: list[LeftOut]) -> list[Doubt]:
    found = []
    early = sum(item.name == "mid_decay" for item in left)
    if early:
        text = f"{plural(early, 'run')} left out: their learning rates had not decayed"
        found.append(Doubt(name="mid_decay", text=text))
    torn = int((table.schema.metadata or {}).get(TORN, 0))
    if torn:
        found.append(Doubt(name="torn_line", text="the last line of the file was cut off and is left out"))
    return found
