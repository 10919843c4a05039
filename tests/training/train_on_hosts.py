"""One of the processes that test_hosts.py starts: joins the others, trains a run, and again until it is stopped."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from scaling.config import Placement, RunConfig, from_dict
from scaling.parallel.hosts import is_first, join

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
join(60)

from scaling.data.prepare import prepare  # noqa: E402 (after joining, as in the command line)
from scaling.training.loop import train  # noqa: E402

run = from_dict(RunConfig, json.loads(Path(os.environ["RUN"]).read_text()), "RUN")
runs, root = Path(sys.argv[1]), Path(sys.argv[2])
store = prepare(run.data, root, lambda line: None)
placement = Placement(data=4, fsdp=2, tracking="off", log_steps=5)
reports = []


def report(live):
    if not reports:
        print("training", flush=True)
    reports.append(live.step)


whole = train(run, runs / "whole", store, placement=placement, report=report)
again = train(run, runs / "whole", store, placement=placement)
if not is_first():
    os.kill(os.getpid(), signal.SIGTERM)  # it comes to one; all must heed it at the same step
part = train(run, runs / "parts", store, placement=placement, stop=stop)
print(json.dumps({"loss": whole.heldout.loss, "same": again == whole, "stopped": part is None, "reports": reports}))
