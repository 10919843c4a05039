"""The plan file of a launched study, as backends read it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_plan(path: Path) -> dict[str, Any]:
    """The plan as plain data. Raises ValueError for a file that is none, or of an older launch."""
    try:
        plan = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not whole JSON ({error}); launch the study again to write it anew") from None
    if "placement" not in plan or any("config" not in run for run in plan.get("runs", ())):
        raise ValueError(f"{path}: no placement or no configs in it; launch the study again to write it anew")
    return plan


def trunks(plan: Mapping[str, Any]) -> dict[str, str | None]:
    """Run id of each run's trunk; None where it has none."""
    return {run["run_id"]: (run["config"].get("trunk") or {}).get("run_id") for run in plan["runs"]}
