"""What a sweep is made of: rows, each a run and changes to its fields, put together only when they are asked for.

A row is built late so that its changes count together: a width and the number
of heads that divides it may come from two different steps.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import Any

from scaling.config import DataConfig, RunConfig, run_id
from scaling.counts import params
from scaling.plan import Cell, Dropped

Changes = tuple[tuple[str, Any], ...]  # dotted path of a field, and its value
Trunks = Mapping[tuple[str, DataConfig], RunConfig]  # by id and data: before data are prepared, ids do not tell them

MANY = 20  # names: more are not listed where one of them is near
PLAIN = frozenset((bool, int, float, str))
SHARED = ("tokens", "schedule", "trunk")  # what a trunk and its branches agree on


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cell with changes that are still to be made to its run, all at once."""

    cell: Cell
    changes: Changes = ()

    def __getitem__(self, path: str) -> Any:
        """The value of a field, or of a whole part such as `model`, with the changes made; nothing else is checked."""
        return _value(self.cell.run, self.changes, path)

    def __str__(self) -> str:
        said = [f"{path}={_short(value)}" for path, value in self.changes]
        run = self.cell.run
        if not said or self.cell.budget:
            said.append(f"{params(run.model).total:,} parameters on {run.tokens:,} tokens")
        budget = [f"budget {self.cell.budget:.3g}"] if self.cell.budget else []
        return ", ".join([*([self.cell.arm] if self.cell.arm else []), *budget, *said])

    @property
    def follows(self) -> bool:
        """Whether it is a trunk or a branch of one."""
        return self.cell.role == "trunk" or self.cell.run.trunk is not None

    def vary(self, more: Mapping[str, Any]) -> "Row":
        """The row with more changes. Raises ValueError for a field that is changed already."""
        before = [path for path, _ in self.changes]
        for path in more:
            twice = next((old for old in before if old == path or old.startswith(f"{path}.")), None)
            if twice:
                raise ValueError(f"{path!r} is varied twice: {twice!r} is an axis of this sweep already")
        return replace(self, changes=(*self.changes, *more.items()))

    def put(self, path: str, value: Any) -> "Row":
        """The row with one field set, whatever it was."""
        if path in dict(self.changes):
            return replace(self, changes=tuple((old, value if old == path else was) for old, was in self.changes))
        return replace(self, changes=(*self.changes, (path, value)))


@dataclass(frozen=True)
class Sweep:
    """Rows, and what was left out of them. Iterating gives the cells."""

    rows: tuple[Row, ...]
    dropped: tuple[Dropped, ...] = ()

    @property
    def kept(self) -> tuple[Cell, ...]:
        """The cells, in order; a run that several rows name is planned once, as the first of them says.

        Raises ValueError for a row whose run is refused.
        """
        return self._cells[0]

    @property
    def named_twice(self) -> tuple[Dropped, ...]:
        """Rows whose run an earlier row names already, but as another part: in another arm, or of another budget."""
        return self._cells[1]

    @cached_property
    def _cells(self) -> tuple[tuple[Cell, ...], tuple[Dropped, ...]]:
        cells: dict[RunConfig, Cell] = {}
        others: list[Dropped] = []
        for row, built in build(self.rows):
            if isinstance(built, ValueError):
                raise ValueError(f"row {row}: {built}. The step `valid` leaves such rows out") from built
            first = cells.setdefault(built.run, built)
            if first != built:
                part = f"arm {first.arm!r}" if first.arm != built.arm else f"budget {first.budget}, role {first.role!r}"
                others.append(Dropped(row=str(row), reason=f"the same run is planned already, with {part}"))
        return tuple(cells.values()), tuple(others)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, place: int) -> Cell:
        return self.kept[place]

    def __str__(self) -> str:
        lines = [str(row) for row in self.rows] + [f"dropped: {row.row}: {row.reason}" for row in self.dropped]
        return "\n".join(lines)


Runs = RunConfig | Iterable[Cell]  # what a step takes: one run, a sweep, or cells made by hand


def sweep_of(runs: Runs) -> Sweep:
    """Anything that a step takes, as a sweep."""
    if isinstance(runs, Sweep):
        return runs
    cells = [Cell(run=runs)] if isinstance(runs, RunConfig) else runs
    return Sweep(tuple(Row(cell=cell) for cell in cells))


def build(rows: Iterable[Row]) -> Iterator[tuple[Row, Cell | ValueError]]:
    """Each row with its cell, or with the error by which its run is refused. Branches follow their changed trunks."""
    rows = list(rows)
    trunks: Trunks = {}
    if any(row.changes and row.cell.run.trunk for row in rows):
        trunks = {(run_id(row.cell.run), row.cell.run.data): row.cell.run for row in rows if row.cell.role == "trunk"}
    for row in rows:
        yield row, _cell(row, trunks)


def vary(config: Any, path: str, value: Any) -> Any:
    """The config with one field, named by a dotted path, replaced."""
    return changed(config, ((path, value),))


def changed(config: Any, changes: Changes) -> Any:
    """The config with all changes made at once: each part is checked with every field in place."""
    found = _by_field(config, changes)
    return replace(
        config, **{name: _changed_part(value, inner) if inner else value for name, (value, inner) in found.items()}
    )


def _changed_part(config: Any, changes: Changes) -> Any:
    """`changed`; of plain values it is remembered, for thousands of rows have few models, rates and schedules."""
    kinds = tuple(type(value) for _, value in changes)
    return _remembered(config, changes, kinds) if PLAIN.issuperset(kinds) else changed(config, changes)


@lru_cache(maxsize=1 << 14)
def _remembered(config: Any, changes: Changes, kinds: tuple[type, ...]) -> Any:
    return changed(config, changes)  # kinds: 1, 1.0 and True are equal but not the same


def field_of(config: Any, name: str) -> Any:
    """The value of a field. Raises ValueError for a name that no field has."""
    known = getattr(config, "__dataclass_fields__", {})  # for each of thousands of rows, so without `fields`
    if not known:
        raise ValueError(f"no field {name!r} in {config!r}, which has none; give the whole of it instead")
    if name not in known:
        raise ValueError(f"no field {name!r} in {type(config).__name__}; {there_are(name, known)}")
    return getattr(config, name)


def there_are(name: str, known: Iterable[str]) -> str:
    """What ends an error about a name: the names there are, and the one that was probably meant; of many only that."""
    known = list(known)
    found = get_close_matches(name, known, n=1)
    listed = f"it has {', '.join(known)}" if len(known) <= MANY or not found else ""
    return "; ".join([*([listed] if listed else []), *([f"did you mean {found[0]!r}?"] if found else [])])


def _cell(row: Row, trunks: Trunks) -> Cell | ValueError:
    if not row.changes:
        return row.cell
    try:
        if row.follows:
            _check_shared(row)
        run = _changed_with_trunk(row.cell.run, row.changes, trunks)
        if row.cell.role == "trunk" and run.data != run.data.before_stages:
            raise ValueError("'data.mixture.stages' are its branches' alone; vary them before `branches`")
        run_id(run)  # checks the types, and is remembered
    except ValueError as error:
        return error
    except TypeError as error:  # a value of a type that cannot even be compared
        return ValueError(f"a value of the wrong type: {error}")
    return replace(row.cell, run=run)


def _changed_with_trunk(run: RunConfig, changes: Changes, trunks: Trunks) -> RunConfig:
    new = changed(run, changes)
    if run.trunk is None:
        return new
    followed = trunks.get((run.trunk.run_id, run.data.before_stages))
    if followed is None:
        raise ValueError(f"its trunk {run.trunk.run_id} is not in the sweep, so that it cannot be varied with it")
    return replace(new, trunk=replace(new.trunk, run_id=run_id(_changed_with_trunk(followed, changes, trunks))))


def _check_shared(row: Row) -> None:
    for path, _ in row.changes:
        if path.split(".")[0] in SHARED:
            raise ValueError(f"{path!r} is fixed between a trunk and its branches; vary it before `branches`")


def _by_field(config: Any, changes: Changes) -> dict[str, tuple[Any, Changes]]:
    """For each field that is changed: what it begins as, and the changes inside it."""
    found: dict[str, tuple[Any, Changes]] = {}
    for path, value in changes:
        head, _, rest = path.partition(".")
        before, inner = found.get(head) or (field_of(config, head), ())
        found[head] = (before, (*inner, (rest, value))) if rest else (value, ())
    return found


def _value(config: Any, changes: Changes, path: str) -> Any:
    head, _, rest = path.partition(".")
    value, inner = _by_field(config, changes).get(head) or (field_of(config, head), ())
    if rest:
        return _value(value, inner, rest)
    return _changed_part(value, inner) if inner else value


def _short(value: Any) -> str:
    if is_dataclass(value):
        changed_fields = [f.name for f in fields(value) if getattr(value, f.name) != f.default]
        return f"{type(value).__name__}({', '.join(f'{n}={_short(getattr(value, n))}' for n in changed_fields)})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
