"""Convert a model: a folder of the transformers library to ours, ours or a run of ours to theirs."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

console = Console(soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    source: tyro.conf.Positional[Path]
    """A folder: of transformers (config.json, model.safetensors), of ours (model.json), or of a run."""
    out: tyro.conf.Positional[Path]
    """The folder to write; it must not exist, or be empty."""
    architecture: str | None = None
    """Written as this model_type of transformers; default: where it came from, or the first that fits."""


def convert(arguments: list[str]) -> None:
    """Read a folder of one kind, write one of the other."""
    options = tyro.cli(ConvertOptions, args=arguments, prog="scaling convert")
    from scaling import interchange
    from scaling.interchange.folders import kind_of

    theirs = kind_of(options.source) == "theirs"
    if theirs and options.architecture is not None:
        raise ValueError(
            f"--architecture={options.architecture} with a folder of transformers: it says what to write for "
            "transformers, but this is written as ours; leave it out"
        )
    model = interchange.read(options.source)
    if theirs:
        interchange.write_ours(model, options.out)
    else:
        written = interchange.write_theirs(model, options.out, options.architecture)
    params = sum(value.size for value in model.params.values())
    kind = f"our {model.config.architecture}" if theirs else f"transformers' {written}"
    console.print(f"{options.source} -> {options.out}: {kind}, {params:,} parameters in {len(model.params)} tensors")
