"""`scaling data`: prepare a corpus, show a prepared one, compare tokenizers on one, or ask what a run has seen."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import tyro

from launch.contamination_command import contamination
from launch.options import WhereOptions, console
from scaling.config import DataConfig


def data(arguments: list[str]) -> None:
    """`prepare` a corpus, `show` a prepared one, compare `tokenizers` on one, or test a run for `contamination`."""
    actions: dict[str, Callable[[list[str]], None]] = {
        "prepare": _prepare,
        "show": _show,
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


def _prepare(arguments: list[str]) -> None:
    from scaling.data.prepare import prepare

    options = tyro.cli(DataOptions, args=arguments, prog="scaling data prepare", description="Tokenize a corpus.")
    store = prepare(options.data, options.root, console.print)
    console.print(str(store), markup=False, highlight=False)


def _show(arguments: list[str]) -> None:
    from scaling.data.prepare import pinned, prepare

    options = tyro.cli(DataOptions, args=arguments, prog="scaling data show", description="Describe a prepared corpus.")
    if pinned(options.data, options.root) is None:
        raise ValueError("these data are not prepared yet: scaling data prepare, with the same options")
    console.print(str(prepare(options.data, options.root, console.print)), markup=False, highlight=False)


def _tokenizers(arguments: list[str]) -> None:
    from launch.tokenizers_command import tokenizers

    tokenizers(arguments)
