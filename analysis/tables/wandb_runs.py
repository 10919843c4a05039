"""Runs that were tracked with wandb: the CSV of its runs table, its JSON, and folders of offline runs.

A run is finished when wandb says so. What was set (config) and what was measured
(summary) are columns by their own names; a name that both use with different
values becomes `config.NAME` and `summary.NAME`, and the reader must choose.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

STATUS = {"finished": "finished", "running": "unfinished", "pending": "unfinished", "preempting": "unfinished"}
STOPPED = "failed"  # crashed, failed, killed, preempted
BESIDE = {"Created", "Runtime", "Sweep", "User", "Tags", "Notes", "ID"}  # columns that only the runs table has
SUMMARY, CONFIG = "wandb-summary.json", "config.yaml"
BELOW = ("*run-*", "wandb/*run-*", "*/wandb/*run-*")
AS_JSON = """for f in $(find {folder} -name '*.wandb'); do wandb leet inspect --summary --json "$f"; done > runs.json"""


def from_page(table: pa.Table, where: str) -> pa.Table:
    """The CSV that the web page exports from the runs table gets run_id, status and message; others stay.

    Names need not differ in wandb, so a name in several rows gets the number of its row.
    """
    names = table.column_names
    if "Step" in names and any(name.endswith("__MAX") for name in names):
        raise ValueError(f"{where}: the export of a wandb chart; open the runs table and export that as CSV")
    if not {"Name", "State"} <= set(names) or not BESIDE & set(names):
        return table
    key = "ID" if "ID" in names else "Name"
    ids = _distinct(["" if value is None else str(value) for value in table[key].to_pylist()])
    states = ["" if value is None else str(value) for value in table["State"].to_pylist()]
    added = {"run_id": ids, "status": [_status(s) for s in states], "message": [_message(s) for s in states]}
    for name, values in added.items():
        if name not in names:
            table = table.append_column(name, pa.array(values, pa.string()))
    return table


def from_objects(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Objects with `config` and `summary`, as wandb's API and `wandb leet inspect` give them; other rows unchanged."""
    if not rows or not all(isinstance(row.get(part), Mapping) for row in rows for part in ("config", "summary")):
        return [dict(row) for row in rows]
    given = [str(row.get("run_id") or row.get("id") or row.get("name") or "") for row in rows]
    heads = []
    for row, run_id in zip(rows, _distinct(given), strict=True):
        state = str(row.get("state", "finished"))
        heads.append({"run_id": run_id, "status": _status(state), "message": _message(state)})
    return _join(heads, [row["config"] for row in rows], [row["summary"] for row in rows])


def read_folder(folder: Path) -> list[dict[str, Any]] | None:
    """One row for each wandb run at or below the folder; None where there is none.

    Needs `files/wandb-summary.json` and `files/config.yaml`; ValueError says how to
    get JSON where a run has nothing but its binary log. A run without a summary is
    unfinished. These files do not say whether a run crashed: its JSON does.
    """
    places = [folder, *(path for pattern in BELOW for path in folder.glob(pattern))]
    runs = sorted(path for path in places if _is_run(path) and not path.is_symlink())
    if not runs:
        return None
    binary = [run for run in runs if not any((run / "files" / name).exists() for name in (SUMMARY, CONFIG))]
    if binary:
        raise ValueError(
            f"{binary[0]}: holds only wandb's binary log ({len(binary)} of {len(runs)} runs do); write it out as JSON "
            f"and read that file: {AS_JSON.format(folder=folder)}"
        )
    heads, configs, summaries = [], [], []
    for run, name in zip(runs, _distinct([run.name.rsplit("-", 1)[-1] for run in runs]), strict=True):
        summary = _load(run / "files" / SUMMARY)
        state = "running" if summary is None else "finished"
        heads.append({"run_id": name, "status": _status(state), "message": "no summary yet" * (summary is None)})
        configs.append(_config(run / "files" / CONFIG))
        summaries.append(summary or {})
    return _join(heads, configs, summaries)


def _is_run(path: Path) -> bool:
    return path.is_dir() and ((path / "files" / SUMMARY).exists() or any(path.glob("*.wandb")))


def _join(heads: Sequence[dict], configs: Sequence[Mapping], summaries: Sequence[Mapping]) -> list[dict[str, Any]]:
    """One row a run; wandb's own keys (they begin with _) are left aside."""
    pairs = list(zip(configs, summaries, strict=True))
    both = ((name, c[name], s[name]) for c, s in pairs for name in c.keys() & s.keys())
    differing = {name for name, set_to, measured in both if set_to != measured}
    rows = []
    for head, (config, summary) in zip(heads, pairs, strict=True):
        row = dict(head)
        for part, values in (("config", config), ("summary", summary)):
            for name, value in values.items():
                if not name.startswith("_") and name not in ("wandb_version", *head):
                    row[f"{part}.{name}" if name in differing else name] = value
        rows.append(row)
    return rows


def _config(path: Path) -> dict[str, Any]:
    """`config.yaml`: every key holds its value under `value`."""
    if not path.exists():
        return {}
    import yaml  # here: few tables need it

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({error}); restore it or move that run away") from None
    return {key: item["value"] if isinstance(item, dict) and "value" in item else item for key, item in values.items()}


def _load(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not whole JSON ({error}); restore it or move that run away") from None


def _status(state: str) -> str:
    return STATUS.get(state.lower(), STOPPED)


def _message(state: str) -> str:
    return "" if state.lower() == "finished" else f"wandb: {state or 'no state'}"


def _distinct(names: list[str]) -> list[str]:
    count = Counter(names)
    return [name if count[name] == 1 and name else f"{name or 'row'} {i}" for i, name in enumerate(names, start=1)]
