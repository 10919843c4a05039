"""The live page of a study: what its runs say, while they are trained."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from launch import studies
from launch.planned import launched_there
from scaling.workspace import Workspace

console = Console()


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    root: Path = Path()
    """Folder that holds runs/ and studies/."""
    port: int = 8400
    """Of this machine's loopback address, which only programs on it can reach; 0 takes any that is free."""


def serve(arguments: list[str]) -> None:
    """Show a launched study in the browser: runs, curves, the law so far, its forecast, what to train next."""
    name, options = _read(arguments)
    workspace = Workspace(root=options.root)
    _check(name, workspace)
    # Fits are small, and the devices, the memory of a GPU above all, belong to the runs that are watched.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.nice(10)  # so do the cores
    from launch.page.server import bound, server
    from launch.page.watch import Watch

    place = bound(options.port)
    watch = Watch(workspace, name)
    watch.start()
    host, port = place.getsockname()
    console.print(f"study {name}: http://{host}:{port}/   (Ctrl-C ends it; training goes on)", highlight=False)
    # When uvicorn has closed its connections it hands the signal on, which comes too late now and then to be raised.
    with suppress(KeyboardInterrupt):
        server(watch, name).run(sockets=[place])
    print("no longer shown; training is not touched by it", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread inside JAX's compiler cannot be stopped and would break the interpreter's orderly end. Nothing is lost.
    os._exit(0)


def _read(arguments: list[str]) -> tuple[str, ServeOptions]:
    """The study's name, and the options."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    rest = arguments[1:] if name else arguments
    options = tyro.cli(ServeOptions, args=rest, prog="scaling serve STUDY", description=serve.__doc__)
    if not name:
        raise ValueError(f"which study? {launched_there(Workspace(root=options.root))}")
    return name, options


def _check(name: str, workspace: Workspace) -> None:
    """A name of a plan file, not a path to one: nothing else is ever read."""
    if name not in _names(workspace):
        known = f"; `scaling launch {name}` begins it" if name in studies.names() else ""
        raise ValueError(f"study {name!r} has not been launched in {workspace.root.absolute()}{known}. "
                         f"{launched_there(workspace)}")  # fmt: skip


def _names(workspace: Workspace) -> list[str]:
    return sorted(path.stem for path in workspace.studies.glob("*.json"))
