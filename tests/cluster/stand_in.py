"""In place of `scaling run PLAN RUN_ID --root ROOT`: says what happens to it, and does what ROOT/orders.json says."""

import json
import signal
import sys
import time
from pathlib import Path

run, plan, name, option, root = sys.argv[1:]
assert (run, option, Path(plan).is_file()) == ("run", "--root", True)
folder = Path(root) / "runs" / name
folder.mkdir(parents=True, exist_ok=True)


def say(word):
    with (folder / "said").open("a") as file:
        file.write(f"{word} {time.time()}\n")


def stop(*_):
    say("stopped")
    sys.exit(75)


signal.signal(signal.SIGTERM, stop)
say("begin")
orders = json.loads((Path(root) / "orders.json").read_text())
if orders.get(name) == "fail":
    sys.exit(1)
while orders.get(name) == "wait" and not (Path(root) / "go").exists():
    time.sleep(0.05)
    if (folder / "cancel").exists():
        stop()
time.sleep(0.5)
say("end")
