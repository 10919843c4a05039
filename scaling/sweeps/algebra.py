"""Sweeps from sweeps: each function takes a run or a sweep, and gives the sweep that it makes of it."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scaling.config import RunConfig, run_id
from scaling.plan import Dropped
from scaling.sweeps.rows import Row, Runs, Sweep, build, sweep_of


def grid(runs: Runs, axes: Mapping[str, Sequence[Any]]) -> Sweep:
    """Every run at every combination of the axes' values, the last axis fastest.

    axes: dotted paths of fields, such as "optim.lr", with their values.
    """
    values = _checked("grid", axes)
    return crossed(runs, [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())])


def zipped(runs: Runs, axes: Mapping[str, Sequence[Any]]) -> Sweep:
    """Every run with the axes' values taken together, position by position: paired parameters."""
    values = _checked("zipped", axes)
    lengths = {path: len(column) for path, column in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"zipped axes differ in length: {lengths}; give each as many values")
    return crossed(runs, [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])


def seeds(runs: Runs, which: int | Iterable[int]) -> Sweep:
    """Every run on each seed. which: the seeds, or how many, counted from 0."""
    return grid(runs, {"seed": list(range(which) if isinstance(which, int) else which)})


def chain(*sweeps: Runs) -> Sweep:
    """Sweeps one after another; a run that several name is planned once, as the first of them says."""
    every = [sweep_of(sweep) for sweep in sweeps]
    return Sweep(tuple(row for sweep in every for row in sweep.rows), _dropped(every))


def product(*sweeps: Sweep) -> Sweep:
    """Every pairing of the changes that sweeps of one run make, the last sweep fastest.

    Raises ValueError where they vary different runs: vary one by the other's
    axes, as in `grid(isoflop(...), axes)`.
    """
    bases = {row.cell for sweep in sweeps for row in sweep.rows}
    if len(bases) > 1:
        raise ValueError(
            f"product: its {len(sweeps)} sweeps vary {len(bases)} different runs; pair changes to one run, or give a "
            "sweep in place of the run: grid(sweep, axes)"
        )
    found = [Row(cell=cell) for cell in bases]
    for sweep in sweeps:
        found = [row.vary(dict(other.changes)) for row in found for other in sweep.rows]
    return Sweep(tuple(found), _dropped(sweeps))


def derive(runs: Runs, path: str, value: Callable[[Row], Any]) -> Sweep:
    """Every run with one field computed from others.

    value: of a row, which is read by path: `lambda row: 6e-3 * 32 / row["model.dim"]`.
    It may read the field that it sets. Steps are made in order: a later one
    sees what an earlier one derived.
    """
    sweep = sweep_of(runs)
    return replace(sweep, rows=tuple(row.put(path, value(row)) for row in sweep.rows))


def where(runs: Runs, keep: Callable[[RunConfig], bool], reason: str) -> Sweep:
    """Those runs for which `keep` is true; the others are dropped for that reason.

    A trunk stays as long as one of its branches does. Raises ValueError for a
    row whose run is refused: `valid` comes before.
    """
    sweep = sweep_of(runs)
    kept, lost = [], []
    for row, built in build(sweep.rows):
        if isinstance(built, ValueError):
            raise ValueError(f"row {row}: {built}. The step `valid`, before this one, leaves such rows out") from built
        (kept if built.role == "trunk" or keep(built.run) else lost).append(row)
    dropped = (Dropped(row=str(row), reason=reason) for row in lost)
    return _without_idle_trunks(kept, lost, (*sweep.dropped, *dropped))


def valid(runs: Runs) -> Sweep:
    """Those rows whose config is accepted; the others are dropped, each for its config's own error."""
    sweep = sweep_of(runs)
    kept, lost = [], {}
    for row, built in build(sweep.rows):
        if isinstance(built, ValueError):
            lost[row] = str(built)
        else:
            kept.append(row)
    dropped = (Dropped(row=str(row), reason=reason) for row, reason in lost.items())
    return _without_idle_trunks(kept, list(lost), (*sweep.dropped, *dropped))


def arm(runs: Runs, name: str | Callable[[Row], str]) -> Sweep:
    """Every run compared as `name`, or as what it says of a row: `lambda row: row["precision"]`."""
    sweep = sweep_of(runs)
    name_of = name if callable(name) else lambda _: name
    return replace(sweep, rows=tuple(replace(row, cell=replace(row.cell, arm=name_of(row))) for row in sweep.rows))


def crossed(runs: Runs, changes: Iterable[Mapping[str, Any]]) -> Sweep:
    """Every run with each of the changes, the changes fastest."""
    sweep, every = sweep_of(runs), list(changes)
    return replace(sweep, rows=tuple(row.vary(more) for row in sweep.rows for more in every))


def _checked(function: str, axes: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    for path, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"{function}: axis {path!r} is {values!r}; give its values in a list, if only one")
    found = {path: list(values) for path, values in axes.items()}
    empty = [path for path, values in found.items() if not values]
    if empty or not found:
        raise ValueError(f"{function}: {f'axis {empty[0]!r} has no values' if empty else 'no axes'}; give at least one")
    return found


def _dropped(sweeps: Iterable[Sweep]) -> tuple[Dropped, ...]:
    return tuple(itertools.chain.from_iterable(sweep.dropped for sweep in sweeps))


def _without_idle_trunks(kept: list[Row], lost: list[Row], dropped: Iterable[Dropped]) -> Sweep:
    """The rows kept, less those trunks whose every branch is lost; these are dropped too."""
    idle = {_followed(row) for row in lost if row.cell.run.trunk} - {_followed(row) for row in kept}
    gone = [row for row in kept if row.cell.role == "trunk" and _own(row) in idle]
    if not gone:
        return Sweep(tuple(kept), tuple(dropped))
    stay = [row for row in kept if row not in gone]
    return _without_idle_trunks(
        stay, gone, (*dropped, *(Dropped(row=str(row), reason="a trunk that no run is left to follow") for row in gone))
    )


def _own(row: Row) -> tuple[Any, ...]:
    return run_id(row.cell.run), row.cell.run.data, row.changes


def _followed(row: Row) -> tuple[Any, ...] | None:
    """The `_own` of the trunk that a row follows."""
    trunk = row.cell.run.trunk
    return trunk and (trunk.run_id, row.cell.run.data.before_stages, row.changes)
