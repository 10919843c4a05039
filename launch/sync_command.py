"""`scaling sync`: send what was tracked offline to wandb's server, by wandb's own client."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import tyro
from rich.console import Console

from launch.options import WhereOptions
from launch.planned import plan_from
from scaling.lease import holder
from scaling.workspace import Workspace

console = Console()

CLIENT = (sys.executable, "-m", "wandb", "sync")
AT_ONCE = 50  # runs in one call of the client
CONNECT_SECONDS = 5.0
CALL_SECONDS, RUN_SECONDS = 60.0, 30.0  # of patience, for a call and each run in it: the client itself never gives up
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def sync(arguments: list[str]) -> None:
    """Send the offline runs of a study, or of all runs there are, to wandb's server; none is sent twice.

    `scaling sync [STUDY]`. Runs that are being trained are left for later.
    """
    if arguments and not arguments[0].startswith("-"):
        plan, options = plan_from("sync", WhereOptions, arguments)
        only = set(plan.by_id)
    else:
        options = tyro.cli(WhereOptions, args=arguments, prog="scaling sync [STUDY]", description=sync.__doc__)
        only = None
    found, held = offline_runs(options.workspace, only)
    new = [path for path in found if not is_synced(path)]
    later = f"; {held} more are of runs under way" if held else ""
    if not new:
        return console.print(f"nothing to send: {len(found)} offline runs are there already{later}", highlight=False)
    _check_reachable()
    parts = [new[start : start + AT_ONCE] for start in range(0, len(new), AT_ONCE)]
    problems = [problem for part in parts if (problem := _send(part, options.workspace))]
    if problems:
        sent = sum(map(is_synced, new))
        raise ValueError(f"{sent} of {len(new)} offline runs sent: {problems[0]}. Nothing is lost, call it again")
    console.print(f"{len(new)} offline runs sent, {len(found) - len(new)} were there already{later}", highlight=False)


def offline_runs(workspace: Workspace, only: Collection[str] | None) -> tuple[list[Path], int]:
    """The folders of offline runs, one an attempt, and how many more belong to runs that are being trained."""
    found, held = [], 0
    for folder in sorted(workspace.runs.glob("*/wandb")):
        run = folder.parent
        if only is not None and run.name not in only:
            continue
        attempts = [path for path in sorted(folder.glob("offline-run-*")) if any(path.glob("run-*.wandb"))]
        if holder(run):
            held += len(attempts)
        else:
            found += attempts
    return found, held


def is_synced(path: Path) -> bool:
    """Whether the client has marked an offline run as sent."""
    return any(path.glob("run-*.wandb.synced"))


def _check_reachable() -> None:
    """Raise ValueError where nobody answers at the server's address."""
    if any(os.environ.get(name) for name in PROXIES):
        return  # the proxy must say
    import wandb

    address = urlsplit(wandb.setup().settings.base_url)
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    try:
        socket.create_connection((address.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"{address.hostname} does not answer ({error}); the offline runs stay where they are, call it again "
            "where there is a network"
        ) from None


def _send(paths: Sequence[Path], workspace: Workspace) -> str:
    """Let the client send some runs; returns what went wrong, "" if nothing did."""
    folder = workspace.root / ".cache" / "wandb"  # for the client's own log
    folder.mkdir(parents=True, exist_ok=True)
    patience = CALL_SECONDS + RUN_SECONDS * len(paths)
    client = subprocess.Popen(
        [*CLIENT, *(str(path.absolute()) for path in paths)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # it starts a process of its own, which is to end with it
    )
    try:
        said, _ = client.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(client.pid, signal.SIGKILL)
        client.communicate()
        return f"wandb's client got no further in {patience:,.0f} s"
    if client.returncode == 0 and all(map(is_synced, paths)):
        return ""
    lines = [line for line in said.splitlines() if line.strip()]
    return f"wandb's client ended with code {client.returncode}, its last word: {lines[-1] if lines else 'nothing'}"
