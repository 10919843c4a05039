"""`scaling export`: everything that a study's runs say, as one table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.options import WhereOptions
from launch.planned import PlanRun, StudyPlan, directory_of, plan_from
from scaling.config import to_dict
from scaling.record import RecordError, read_record
from scaling.workspace import Workspace

console = Console()
KINDS = (".parquet", ".csv")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(WhereOptions):
    force: bool = False
    """Replace a file that is there."""


def export(arguments: list[str]) -> None:
    """Write one row for each run of a study: what a fit reads, and its whole config, costs and provenance.

    `scaling export STUDY OUT.parquet` or `OUT.csv`. `scaling fit OUT` reads it.
    """
    asks_help = not {"-h", "--help"}.isdisjoint(arguments)
    if not asks_help and (len(arguments) < 2 or arguments[1].startswith("-")):
        raise ValueError("scaling export STUDY OUT: give a launched study, and a .parquet or .csv file to write")
    plan, options = plan_from("export", ExportOptions, arguments if asks_help else [arguments[0], *arguments[2:]])
    out = Path(arguments[1])
    if out.suffix not in KINDS:
        raise ValueError(f"{out}: cannot write {out.suffix or 'a file without a suffix'}; use {' or '.join(KINDS)}")
    if out.exists() and not options.force:
        raise ValueError(f"{out}: is there already; --force replaces it")
    found = rows(plan, options.workspace)
    _write(found, out)
    finished = sum(row["status"] == "finished" for row in found)
    console.print(f"{len(found)} runs, {finished} of them finished: {out}", highlight=False, soft_wrap=True)


def rows(plan: StudyPlan, workspace: Workspace) -> list[dict[str, Any]]:
    """A row for each run of a plan, in its order; one without a record has its config and its state."""
    return [_row(run, plan, workspace) for run in plan.runs]


def _row(run: PlanRun, plan: StudyPlan, workspace: Workspace) -> dict[str, Any]:
    from analysis.tables.records import flatten

    ours = {"study": plan.name, "role": run.role, "arm": run.arm, "budget": run.budget}
    path = directory_of(run, workspace).record
    try:
        record = read_record(path)
    except FileNotFoundError:
        return {"run_id": run.run_id, "status": "unfinished", "message": "no record yet", **ours, **_config(run.config)}
    except RecordError as error:
        return {"run_id": run.run_id, "status": "unreadable", "message": str(error), **ours, **_config(run.config)}
    parts = {name: asdict(getattr(record, name)) for name in ("cost", "provenance")}
    if record.heldout:
        parts["heldout"] = {name: value for name, value in asdict(record.heldout).items() if name != "by_position"}
    parts["placement"] = record.placement
    return {
        **flatten(record),
        **ours,
        "skipped_steps": record.skipped_steps,
        **_config(to_dict(record.config)),
        **{name: value for part, values in parts.items() for name, value in _flat(values, f"{part}.")},
    }


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_flat(config, "config."))


def _flat(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Dotted names with plain values; a list becomes its JSON, so that it is one cell in any kind of file."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", json.dumps(value) if isinstance(value, list | tuple) else value))
    return found


def _write(found: list[dict[str, Any]], out: Path) -> None:
    import pyarrow.parquet

    from analysis.tables.files import from_rows
    from analysis.tables.table import write_csv

    table = from_rows(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        return write_csv(table, out)
    temporary = out.with_name(f".{out.name}.tmp")
    pyarrow.parquet.write_table(table, temporary)
    temporary.replace(out)
