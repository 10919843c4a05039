"""`scaling train` as one of several processes, one a host, that train one run together.

There is no pool and no second try: all processes must begin again together, and
whoever started them (SLURM, Kubernetes) does that. What is trained is kept. At
SIGTERM in any of them all write a checkpoint and leave with RESUME_ME.
"""

import os
import sys
import threading
import time
from collections.abc import Collection

from rich.console import Console

from launch.pool import defaults
from launch.worker import CANCELLED, RESUME_ME, end_after, heed_sigterm
from scaling.attempts import GivenUp, last_step
from scaling.config import Placement, RunConfig, run_id
from scaling.lease import BEAT_SECONDS, EXPIRY_SECONDS
from scaling.outcome import failed_record
from scaling.parallel.hosts import is_first, join
from scaling.record import RunDirectory, write_record
from scaling.workspace import Workspace

REPORT_SECONDS = 10.0  # between two lines


def train_together(
    run: RunConfig, workspace: Workspace, placement: Placement, console: Console, *, keep_tokens: Collection[int] = ()
) -> bool:
    """Train a run with the devices of all processes; whether this is the first of them."""
    os.environ.update({**defaults(workspace), **os.environ})  # before JAX is imported
    stop = threading.Event()
    heed_sigterm(stop)
    threading.Thread(target=end_after, args=(stop, [placement.grace_seconds]), daemon=True).start()
    join()
    from scaling.data.prepare import prepare
    from scaling.training.logbook import Live
    from scaling.training.loop import train

    said = [time.monotonic()]

    def report(live: Live) -> None:
        if time.monotonic() - said[0] > REPORT_SECONDS:
            said[0] = time.monotonic()
            console.print(
                f"step {live.step}/{live.steps}, loss {live.loss:.4f}, {live.tokens_per_second:,.0f} tokens/s",
                highlight=False,
            )

    store = prepare(run.data, workspace.root, console.print)
    try:
        record = train(
            run,
            workspace.runs,
            store,
            placement=placement,
            keep_tokens=keep_tokens,
            report=report,
            stop=stop,
            patience_seconds=EXPIRY_SECONDS + 2 * BEAT_SECONDS,
        )
    except GivenUp as error:
        if is_first():
            directory = RunDirectory(workspace.runs / run_id(run))
            write_record(directory, failed_record(run, placement, str(error), last_step(directory) * run.batch_tokens))
        sys.exit(f"{run_id(run)}: {error}")
    except RuntimeError as error:  # JAX's; it names the broken connection, not what broke it
        error.add_note(
            "If another process ended, its own output says why. Start all processes again: they go on from the last "
            "checkpoint."
        )
        raise
    if record is None:
        cancelled = RunDirectory(workspace.runs / run_id(run)).cancel.exists() and not stop.is_set()
        sys.exit(CANCELLED if cancelled else RESUME_ME)
    return is_first()
