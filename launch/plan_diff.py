"""What a change to a study adds to its last launch, keeps of it, and leaves behind."""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from launch.show_plan import SUMMED, hours, si
from scaling.config import DataConfig, RunConfig, from_dict, run_id, to_dict
from scaling.counts import params
from scaling.plan import Cell, Plan, Study, pin
from scaling.plan_file import plan_path, read_plan
from scaling.record import RunDirectory
from scaling.workspace import Workspace

LISTED = 20  # runs of each kind, unless all are asked for
MOST_VALUES = 6  # of a field that changed

Entry = dict[str, Any]  # of a plan file: one run


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A study against its plan file."""

    added: tuple[Cell, ...]
    kept: tuple[Cell, ...]
    relabelled: int  # of those kept: in another arm, role or budget; they train nothing anew
    orphaned: tuple[Entry, ...]
    changed: dict[str, tuple[list[Any], list[Any]]]  # by field: the values that went, and those that came
    trained: frozenset[str]  # of the added and the orphaned: those that have a record
    total: dict[str, float]  # what those take that are added and not trained
    notes: tuple[str, ...] = ()  # what the comparison took for granted


def launched(study: Study, workspace: Workspace) -> tuple[Study, dict[str, Entry], tuple[str, ...]]:
    """The study on the data of its last launch, the runs of that launch by id, and notes.

    Where data are not prepared here, or their source has changed, the last
    launch's are taken; data that it did not have make new runs.
    """
    from scaling.data.prepare import pinned

    path = plan_path(workspace, study.name)
    if not path.exists():
        return study, {}, (f"study {study.name!r} was never launched below {workspace.root}: every run is added",)
    entries = read_plan(path).runs
    last = _data_of(entries)
    notes = []

    def content(data: DataConfig) -> DataConfig:
        found = pinned(data, workspace.root)
        if found is None and data in last:
            notes.append(f"the data ({_named(data)}) are not prepared as they are now; taken as in the last launch")
        elif found is None:
            notes.append(f"the data ({_named(data)}) were not in the last launch: every run that reads them is added")
        return found or last.get(data, data)

    return pin(study, content), entries, tuple(notes)


def difference(plan: Plan, entries: dict[str, Entry], workspace: Workspace, notes: tuple[str, ...] = ()) -> Difference:
    """plan: of the study on the data of its last launch. entries: that launch's runs."""
    named = [(run_id(cell.run), cell) for cell in plan.study.cells]
    now = {name for name, _ in named}
    orphaned = [entry for name, entry in entries.items() if name not in now]
    trained = frozenset(name for name in now ^ entries.keys() if RunDirectory(workspace.runs / name).record.exists())
    missing = [
        prediction
        for (name, _), prediction in zip(named, plan.predictions, strict=True)
        if name not in entries and name not in trained
    ]
    kept = [(cell, entries[name]) for name, cell in named if name in entries]
    return Difference(
        added=tuple(cell for name, cell in named if name not in entries),
        kept=tuple(cell for cell, _ in kept),
        relabelled=sum(
            (cell.role, cell.budget, cell.arm) != (entry["role"], entry["budget"], entry["arm"]) for cell, entry in kept
        ),
        orphaned=tuple(orphaned),
        changed=_changed(plan.study, entries) if entries else {},
        trained=trained,
        total={quantity: sum(getattr(found, quantity) for found in missing) for quantity in SUMMED},
        notes=notes,
    )


def print_difference(found: Difference, plan: Plan, console: Console, *, every: bool) -> None:
    """Counts, the runs, and what the added ones take."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for note in found.notes:
        say(f"note: {note}")
    labels = f" ({found.relabelled} in another arm, role or budget)" if found.relabelled else ""
    counts = f"{len(found.added)} added, {len(found.kept)} kept{labels}, {len(found.orphaned)} orphaned"
    say(f"study {plan.study.name}: {counts}")
    for path, (gone, new) in found.changed.items():
        say(f"  {path}: {_few(gone)} -> {_few(new)}")
    _list("+", found.added, len(found.added), say, every=every)
    _list("-", map(_cell_of, found.orphaned), len(found.orphaned), say, every=every)
    total = found.total
    done = sum(run_id(cell.run) in found.trained for cell in found.added)
    say(
        f"\nto train: {len(found.added) - done} runs, {total['flops']:.3g} FLOPs, {hours(total['hours'])} of "
        f"{plan.hardware.name}, {total['energy_kwh']:.3g} kWh, ${total['dollars']:.4g}, {total['kg_co2']:.3g} kg CO2"
        + (f"; {done} of those added are trained already" if done else "")
    )
    left = sum(entry["run_id"] in found.trained for entry in found.orphaned)
    if left:
        say(f"{left} of the orphaned runs have records, which stay in runs/; a report of this study will not read them")


def to_json(found: Difference) -> dict[str, Any]:
    """As plain data."""
    return {
        "added": [run_id(cell.run) for cell in found.added],
        "kept": [run_id(cell.run) for cell in found.kept],
        "relabelled": found.relabelled,
        "orphaned": [entry["run_id"] for entry in found.orphaned],
        "changed": {path: {"gone": gone, "new": new} for path, (gone, new) in found.changed.items()},
        "trained": sorted(found.trained),
        "to_train": found.total,
        "notes": list(found.notes),
    }


def _data_of(entries: dict[str, Entry]) -> dict[DataConfig, DataConfig]:
    """The data of launched runs, by what they were before their content was known."""
    distinct = {json.dumps(entry["config"]["data"]): entry["config"]["data"] for entry in entries.values()}
    every = [from_dict(DataConfig, values, "plan") for values in distinct.values()]
    return {replace(data, content=""): data for data in every}


def _named(data: DataConfig) -> str:
    return f"{data.source.path or data.source.kind}, {data.tokenizer}, vocabulary {data.vocab}"


def _changed(study: Study, entries: dict[str, Entry]) -> dict[str, tuple[list[Any], list[Any]]]:
    """For each field, the values that only the launched runs have and those that only the study's have."""
    before = _values(entry["config"] for entry in entries.values())
    after = _values(to_dict(run) for run in study.runs)
    found = {}
    for path in dict.fromkeys((*before, *after)):
        old, now = before.get(path, {}), after.get(path, {})
        gone, new = [value for value in old if value not in now], [value for value in now if value not in old]
        if gone or new:
            found[path] = (gone, new)
    return found


def _values(configs: Iterable[dict[str, Any]]) -> dict[str, dict[Any, None]]:
    """By dotted path, the values that runs have, each once; what follows from other fields is left out."""
    found: dict[str, dict[Any, None]] = {}

    def visit(values: dict[str, Any], above: str) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                visit(value, f"{above}{name}.")
            else:
                found.setdefault(above + name, {})[str(value) if isinstance(value, list) else value] = None

    for config in configs:
        visit({name: value for name, value in config.items() if name != "trunk"}, "")
    return found


def _cell_of(entry: Entry) -> Cell:
    run = from_dict(RunConfig, entry["config"], f"run {entry['run_id']} of the last launch")
    return Cell(run=run, role=entry["role"], budget=entry["budget"], arm=entry["arm"])


def _few(values: list[Any]) -> str:
    said = ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values[:MOST_VALUES])
    return (said or "nothing") + (", ..." if len(values) > MOST_VALUES else "")


def _said(cell: Cell) -> str:
    run = cell.run
    words = [run_id(run), cell.role, cell.arm, f"{si(params(run.model, run.objective).total)} parameters"]
    return " ".join([*filter(None, words), f"{si(run.tokens)} tokens, lr {run.optim.lr:.3g}, seed {run.seed}"])


def _list(mark: str, cells: Iterable[Cell], count: int, say: Callable[[str], None], *, every: bool) -> None:
    for cell in itertools.islice(cells, count if every else LISTED):
        say(f"  {mark} {_said(cell)}")
    if not every and count > LISTED:
        say(f"  {mark} ... and {count - LISTED} more; --runs lists them")
