"""Stands in for `scaling run PLAN RUN_ID --root ROOT`: writes down who called it, and ends as the run id says.

`stop`, `held` and `killed` end so at their first attempt and well at the
second; `fail` always fails; `long` waits to be told to stop.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

FIRST = {"stop": 75, "held": 76}


def main() -> int:
    plan, name, _, root = sys.argv[1:]
    told = Path(root) / "told.jsonl"
    before = told.read_text() if told.exists() else ""
    attempt = before.count(f'"{name}"') + 1
    cluster = {key: value for key, value in os.environ.items() if key.startswith("SCALING_")}
    note(told, {"run": name, "plan": plan, "time": time.time(), "pid": os.getpid(), **cluster})
    if name.startswith("long") and attempt == 1:
        return wait(told)
    if name == "killed" and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "fail":
        print("this run cannot be trained")
        return 1
    return FIRST.get(name, 0) if attempt == 1 else 0


def wait(told: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    try:
        time.sleep(120)
    finally:
        note(told, {"stopped": os.getpid()})
    return 1


def note(told: Path, values: dict) -> None:
    with told.open("a") as file:
        file.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    sys.exit(main())
