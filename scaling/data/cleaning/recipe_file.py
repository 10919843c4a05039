"""A recipe from a TOML file: the steps of cleaning in their order, each a `[[cleaning]]` with its `kind`."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

from scaling.config.cleaning import CleaningStep
from scaling.sweeps.nodes import load
from scaling.sweeps.rows import there_are

KINDS = [{f.name: f.default for f in fields(step)}["kind"] for step in get_args(get_args(CleaningStep)[0])]


def read_recipe(path: Path) -> tuple[CleaningStep, ...]:
    """The steps that a file names; nothing in it is executed.

    Raises FileError, with the line, for what is misspelt, missing or of a wrong type.
    """
    parts = load(path).table(("cleaning",), required=("cleaning",))
    steps = []
    for node in parts["cleaning"].items():
        kind = node.table(required=("kind",))["kind"]
        if kind.value not in KINDS:
            kind.fail(f"no such step; {there_are(str(kind.value), KINDS)}")
        steps.append(node.read(CleaningStep))
    return tuple(steps)
