"""A study from a TOML file: a base run, steps that make a sweep of it, and the words of a study."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from scaling.config import DataConfig, NextToken, Placement, RunConfig, lengths
from scaling.counts import train_flops
from scaling.plan import Study
from scaling.sweeps.budgets import round_tokens
from scaling.sweeps.nodes import FileError, Node, load
from scaling.sweeps.rows import Sweep, sweep_of
from scaling.sweeps.steps import NOTHING, Known, Trained, follow

WORDS = ("question", "published", "shows", "cannot_show")


def read(path: Path, trained: Trained = NOTHING) -> Study:
    """The study that a file describes; nothing in it is executed.

    trained: what `successive_halving` goes by. Raises FileError, with the line,
    for what is misspelt, missing or of a wrong type.
    """
    file = load(path)
    known = ("name", *WORDS, "forecast_flops", "base", "placement", "sweep")
    parts = file.table(known, required=("question", "base"))
    base = _base(parts["base"])
    sweep, known_of_all = sweep_of(base), Known(base, trained)
    if "sweep" in parts:
        sweep = follow(sweep, parts["sweep"], known_of_all)
    words = {word: parts[word].read(str) if word in parts else "" for word in WORDS}
    placement = parts["placement"].read(Placement) if "placement" in parts else Placement()
    try:
        forecast = parts["forecast_flops"].read(float) if "forecast_flops" in parts else 10 * _largest(sweep)
        return Study(
            name=_name(parts, path),
            forecast_flops=forecast,
            cells=sweep,
            placement=placement,
            later=sum(known_of_all.later),
            **words,
        )
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


def _base(given: Node) -> RunConfig:
    """The run that all steps begin with. Its vocabulary is its data's, and its tokens are rounded to whole steps."""
    hints = get_type_hints(RunConfig, include_extras=True)
    names = [f.name for f in fields(RunConfig) if f.name != "trunk"]
    parts = given.table(names, required=("model", "tokens"))
    read: dict[str, Any] = {name: parts[name].read(hints[name]) for name in parts if name not in ("model", "tokens")}
    data = read.get("data", DataConfig())
    own_vocab = "vocab" in parts["model"].table()
    shape = {"vocab": data.vocab, **parts["model"].value}
    model = replace(parts["model"], value=shape).read(hints["model"])
    try:
        found = lengths(model, read.get("objective", NextToken()))
        data = replace(data, specials=max(data.specials, found.specials))
        model = model if own_vocab else replace(model, vocab=data.total_vocab)
        batch = read.get("batch", RunConfig.batch)
        tokens = round_tokens(parts["tokens"].read(float), max(1, batch * found.text))
        return RunConfig(**{**read, "data": data, "model": model, "tokens": tokens})
    except FileError:
        raise
    except ValueError as error:
        given.fail(str(error))


def _name(parts: dict[str, Node], path: Path) -> str:
    """That of its plan, its job names and its report."""
    name = parts["name"].read(str) if "name" in parts else path.stem
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FileError(f"{path}: a study's name is part of file names: {name!r} has other than letters, digits, . _ -")
    return name


def _largest(sweep: Sweep) -> float:
    return max((train_flops(cell.run.model, cell.run.tokens, cell.run.objective).exact for cell in sweep), default=0.0)
