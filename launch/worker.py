"""A worker process: trains the runs it is told, one after another.

It reads one JSON object a line from standard input (run_id, keep_tokens,
placement, store) and answers on standard output, a JSON object a line: `live` while
a run goes on, then `done`, `held` or `failed`. What anything else prints goes
to the run's log. On SIGTERM, or when its input ends, it finishes the step,
checkpoints the run under way and leaves; what takes longer than the grace of
the run's placement is broken off, and the checkpoint before it counts. After
SIGTERM its exit code is RESUME_ME: nothing went wrong, and the run goes on
wherever it is started next.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling.config import DataConfig, RunConfig
    from scaling.data.store import Store

RESUME_ME = 75  # EX_TEMPFAIL of sysexits.h: try again later
STORE_SECONDS = 10.0  # until a run whose store does not answer is tried again
CANCELLED = 77  # EX_NOPERM; here: whoever started it must not start it again


def main() -> None:
    runs, root, cores = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    if cores and hasattr(os, "sched_setaffinity"):  # macOS has none
        os.sched_setaffinity(0, cores)  # before JAX counts the cores for its threads
    say = _speaker()
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's: it closes the input
    tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
    terminated = heed_sigterm(stop, lambda: tasks.put(None))  # an idle worker waits for its next task
    grace_seconds = [0.0]  # of the run under way
    threading.Thread(target=_listen, args=(tasks, stop), daemon=True).start()
    threading.Thread(target=end_after, args=(stop, grace_seconds), daemon=True).start()
    stores: dict[DataConfig, Store] = {}  # that are open
    while not stop.is_set() and (task := tasks.get()) is not None:
        grace_seconds[0] = task["placement"]["grace_seconds"]
        if not _train(task, runs, root, stores, say, stop):
            terminated.set()
            break
    say({"event": "bye"})
    if terminated.is_set():
        sys.exit(RESUME_ME)


def _train(
    task: dict[str, Any],
    runs: Path,
    root: Path,
    stores: "dict[DataConfig, Store]",
    say: Any,
    stop: threading.Event,
) -> bool:
    """Train one run and say what became of it; False where its store did not answer, and it is to be begun again."""
    from scaling.attempts import cause_of
    from scaling.config import Placement, from_dict
    from scaling.lease import LeaseLost, RunHeld
    from scaling.mirror.bucket import BucketError
    from scaling.record import RunDirectory, read_config

    directory = RunDirectory(runs / task["run_id"])
    try:
        _redirect(directory.log)
        from scaling.data.prepare import prepare
        from scaling.training.loop import train

        run = read_config(directory)
        placement = from_dict(Placement, task["placement"], "placement")
        if run.data not in stores:
            stores[run.data] = prepare(run.data, root, logging.getLogger(__name__).info)
        with _on_store(task, run, runs, stop) as asked:
            record = train(
                run,
                runs,
                stores[run.data],
                placement=placement,
                keep_tokens=task["keep_tokens"],
                report=lambda live: say({"event": "live", **asdict(live)}),
                stop=asked,
                patience_seconds=task["patience_seconds"],
            )
    except (RunHeld, LeaseLost):
        say({"event": "held", "run_id": task["run_id"]})
        return True
    except BucketError:
        traceback.print_exc()
        stop.wait(STORE_SECONDS)
        say({"event": "interrupted", "run_id": task["run_id"]})
        return False
    except Exception as error:  # whatever went wrong, the other runs go on
        with suppress(OSError):  # the log may lie on a disk that is full
            traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        say({"event": "failed", "run_id": task["run_id"], "cause": cause_of(error), "message": message})
        return True
    if record is None:
        say({"event": "interrupted" if stop.is_set() else "cancelled", "run_id": task["run_id"]})
        return True
    loss = record.heldout.loss if record.heldout else None
    say({"event": "done", "run_id": task["run_id"], "status": record.status, "loss": loss, "message": record.message})
    return True


def _on_store(task: dict[str, Any], run: "RunConfig", runs: Path, stop: threading.Event) -> AbstractContextManager[Any]:
    """The run held on its store and kept there too, where it has one; gives what tells training to stop."""
    if task["store"] is None:
        return nullcontext(stop)
    from scaling.mirror.bucket import bucket_of
    from scaling.mirror.mirror import mirrored

    return mirrored(
        bucket_of(task["store"]),
        run,
        runs,
        stop,
        keep_tokens=task["keep_tokens"],
        patience_seconds=task["patience_seconds"],
    )


def _speaker() -> Any:
    """A function that writes one JSON line to what is standard output now, whatever happens to it later."""
    channel = os.dup(1)

    def say(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with suppress(
            BrokenPipeError
        ):  # the launcher is gone: the end of the input says so, and a checkpoint comes first
            while line:
                line = line[os.write(channel, line) :]

    return say


def _redirect(log: Path) -> None:
    """Send everything this process prints, C++ libraries included, to the end of a run's log."""
    with log.open("ab") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)


def heed_sigterm(stop: threading.Event, wake: Callable[[], None] = lambda: None) -> threading.Event:
    """Stop at SIGTERM, at once, even while the main thread waits for a long step; returns whether it came.

    Python runs a signal's handler in the main thread, which may be inside XLA
    for minutes; the byte that the system's own handler writes reaches a thread.
    """
    terminated = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        os.read(reading, 1)
        terminated.set()
        stop.set()
        wake()

    threading.Thread(target=wait, daemon=True).start()
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGTERM, lambda *_: None)  # without a handler nothing is written
    return terminated


def end_after(stop: threading.Event, grace_seconds: list[float]) -> None:
    """End this process, whatever it is doing, a grace after it was asked to stop."""
    stop.wait()
    time.sleep(grace_seconds[0])
    os._exit(RESUME_ME)  # what is on disk is whole: checkpoints are renamed, the curve drops a torn line


def _listen(tasks: "queue.Queue[dict[str, Any] | None]", stop: threading.Event) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    stop.set()  # the launcher is gone, or wants no more
    tasks.put(None)


if __name__ == "__main__":
    main()
