"""`scaling data`: clean and tokenize a corpus, show it, report on it; compare tokenizers; what has a run seen?"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import tyro

from launch.contamination_command import contamination
from launch.options import WhereOptions, console
from launch.source_option import SOURCES
from scaling.config import DataConfig


def data(arguments: list[str]) -> None:
    """`prepare`, `show` or `clean` a corpus, `report` on it, compare `tokenizers`, test a run for `contamination`."""
    actions: dict[str, Callable[[list[str]], None]] = {
        "prepare": _prepare,
        "show": _show,
        "clean": _clean,
        "report": _report,
        "tokenizers": _tokenizers,
        "contamination": contamination,
    }
    if not arguments or arguments[0] not in actions:
        print(f"usage: scaling data {'|'.join(actions)} [options]; each answers --help")
        if arguments and arguments[0] not in ("-h", "--help"):
            sys.exit(f"scaling data: no action {arguments[0]!r}")
        return
    actions[arguments[0]](arguments[1:])


@dataclass(frozen=True, kw_only=True)
class DataOptions(WhereOptions):
    data: tyro.conf.OmitArgPrefixes[tyro.conf.AvoidSubcommands[DataConfig]] = DataConfig()
    recipe: Path | None = None
    """A TOML file of cleaning steps, a [[cleaning]] each, in their order."""

    def chosen(self) -> DataConfig:
        """The data with the recipe's steps."""
        if self.recipe is None:
            return self.data
        from scaling.data.cleaning.recipe_file import read_recipe

        return replace(self.data, cleaning=read_recipe(self.recipe))


Options = TypeVar("Options", bound=DataOptions)


def _parsed(options: type[Options], arguments: list[str], action: str, meaning: str) -> Options:
    return tyro.cli(options, args=arguments, prog=f"scaling data {action}", description=meaning, registry=SOURCES)


def _prepare(arguments: list[str]) -> None:
    from scaling.data.prepare import prepare

    options = _parsed(DataOptions, arguments, "prepare", "Tokenize a corpus.")
    store = prepare(options.chosen(), options.root, console.print)
    _say(str(store))


def _show(arguments: list[str]) -> None:
    from scaling.data.prepare import pinned, prepare

    options = _parsed(DataOptions, arguments, "show", "Describe a prepared corpus.")
    if pinned(options.chosen(), options.root) is None:
        raise ValueError("these data are not prepared yet: scaling data prepare, with the same options")
    console.print(
        str(prepare(options.chosen(), options.root, console.print)), markup=False, highlight=False, soft_wrap=True
    )


@dataclass(frozen=True, kw_only=True)
class CleanOptions(DataOptions):
    processes: int | None = None
    """Of this machine; by default one for each processor."""
    ray: str | None = None
    """Clean by Ray Data instead: "local" for this machine, or a cluster's address, whose nodes see the same files."""

    def __post_init__(self) -> None:
        if self.processes is not None and self.ray is not None:
            raise ValueError("--processes and --ray: choose one; Ray decides itself how many processes it takes")


def _clean(arguments: list[str]) -> None:
    from scaling.data.cleaning.parallel import in_processes, on_ray
    from scaling.data.prepare import clean

    options = _parsed(CleanOptions, arguments, "clean", "Clean a corpus.")
    by_ray = options.ray is not None
    address = None if options.ray == "local" else options.ray
    with on_ray(address) if by_ray else in_processes(options.processes) as map_shards:
        folder = clean(_with_steps(options), options.root, _say, map_shards)
    _say(f"cleaned documents and their account: {folder}")


@dataclass(frozen=True, kw_only=True)
class ReportOptions(DataOptions):
    out: Path | None = None
    """The page; by default reports/<data>-<recipe>.html below the root."""


def _report(arguments: list[str]) -> None:
    from launch.cleaning_page import write_page
    from scaling.data.prepare import cleaned

    options = _parsed(ReportOptions, arguments, "report", "What cleaning did.")
    found = cleaned(_with_steps(options), options.root)
    out = options.out or options.workspace.reports / f"{found.name}.html"
    write_page(out, found)
    _say(f"report: {out}")


def _with_steps(options: DataOptions) -> DataConfig:
    chosen = options.chosen()
    if not chosen.cleaning:
        raise ValueError("no cleaning step: give --recipe FILE, with a [[cleaning]] for each step")
    return chosen


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _tokenizers(arguments: list[str]) -> None:
    from launch.tokenizers_command import tokenizers

    tokenizers(arguments)
