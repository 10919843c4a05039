"""Studies by name, and their keyword parameters as typed command-line options."""

import dataclasses
import gc
import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

import experiments
from launch.source_option import SOURCES
from launch.trained import trained
from scaling.plan import Study
from scaling.sweeps.study_file import read
from scaling.workspace import Workspace

TOML = ".toml"  # a name that ends so is the path of a study's file


def names() -> list[str]:
    """Every Python file in experiments/ is a study."""
    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))


def find(name: str) -> Callable[..., Study]:
    """The `study` function of experiments/<name>.py. Raises ValueError for a file that cannot be imported."""
    if name not in names():
        raise ValueError(
            f"no study {name!r}; there are: {', '.join(names())}; a study of your own is a path that ends in {TOML}"
        )
    file = _file(name)
    try:
        module = importlib.import_module(f"experiments.{name}")
    except Exception as error:
        raise ValueError(f"{_place(error, file)}: cannot be imported: {_cause(error)}") from error
    if not callable(getattr(module, "study", None)):
        raise ValueError(f"{file}: has no function study(...) that returns a Study")
    return module.study


def grows(name: str) -> bool:
    """Whether a study may have more runs when those that it has are trained: only a file's can, if it halves."""
    return name.endswith(TOML) and "successive_halving" in Path(name).read_text(encoding="utf-8")


def summary(name: str) -> str:
    """First line of a study file's docstring, read without importing it."""
    module = importlib.util.find_spec(f"experiments.{name}")
    found = re.match(r'\s*"""(.*?)(\n|""")', Path(module.origin).read_text(encoding="utf-8"))
    return found[1] if found else ""


def parse(name: str, options: type, arguments: list[str], prog: str) -> tuple[Any, Study]:
    """A command's own options and the study, both from one command line."""
    collect_rarely()
    if name.endswith(TOML):
        return _parse_file(Path(name), options, arguments, prog)
    study, file = find(name), _file(name)
    parameters = _parameters(study, file)
    required = any(f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(options))
    own = dataclasses.field() if required else dataclasses.field(default_factory=options)
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("command", tyro.conf.OmitArgPrefixes[options], own),
            ("study", _plain_options(parameters), dataclasses.field(default_factory=parameters)),
        ],
    )
    meaning = inspect.getdoc(study).partition("\n")[0]
    parsed = tyro.cli(both, args=arguments, prog=f"{prog} {name}", description=meaning, registry=SOURCES)
    values = {field.name: getattr(parsed.study, field.name) for field in dataclasses.fields(parameters)}
    made = _make(study, values, file)
    return parsed.command, dataclasses.replace(made, name=_variant(made.name, values, parameters()))


def collect_rarely() -> None:
    """Look for garbage after a hundred thousand new objects, not seven hundred.

    The runs of a study and its records live to the end: looking through them
    again and again is a fifth of the time in which ten thousand are planned.
    """
    gc.set_threshold(100_000)


def _plain_options(parameters: type) -> Any:
    # A field that holds a config or none, such as a mixture, is a field of a file: not a command's second word.
    return tyro.conf.OmitArgPrefixes[tyro.conf.AvoidSubcommands[parameters]]


def _parse_file(path: Path, options: type, arguments: list[str], prog: str) -> tuple[Any, Study]:
    """A command's own options, and the study that a TOML file describes: it has no other options."""
    parsed = tyro.cli(options, args=arguments, prog=f"{prog} {path}", description=f"The study that {path} describes.")
    return parsed, read(path, trained(Workspace(root=getattr(parsed, "root", Path()))))


def _make(study: Callable[..., Study], values: dict[str, Any], file: str) -> Study:
    """What the study's function returns. Raises ValueError for whatever it raises, and where it is no Study."""
    try:
        made = study(**values)
    except Exception as error:
        place = file if isinstance(error, ValueError) else _place(error, file)
        raise ValueError(f"{place}: {_cause(error)}") from error
    if not isinstance(made, Study):
        raise ValueError(f"{file}: study() returned {type(made).__name__}, not a Study")
    return made


def _file(name: str) -> str:
    """As a person would type it: below the current folder where it lies there."""
    path = Path(importlib.util.find_spec(f"experiments.{name}").origin)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _place(error: Exception, file: str) -> str:
    """The file, and the line of it from which the error came."""
    if isinstance(error, SyntaxError) and error.filename and os.path.samefile(error.filename, file):
        return f"{file}, line {error.lineno}"
    path = str(Path(file).resolve())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{file}, line {lines[-1]}" if lines else file


def _cause(error: Exception) -> str:
    """ValueErrors are written for the user; of others the kind says most."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _variant(name: str, values: dict[str, Any], defaults: Any) -> str:
    """A study's own name, marked when its parameters are not the defaults, so that reports lie side by side."""
    changed = {key: value for key, value in values.items() if value != getattr(defaults, key)}
    return f"{name}-{hashlib.sha256(repr(sorted(changed.items())).encode()).hexdigest()[:6]}" if changed else name


def _parameters(study: Callable[..., Study], file: str) -> type:
    """The keyword parameters of a study as a dataclass, with the docstring's `name: meaning` lines as help."""
    for parameter in inspect.signature(study).parameters.values():
        if inspect.Parameter.empty in (parameter.annotation, parameter.default):
            raise ValueError(f"{file}: study(): {parameter.name!r} needs a type and a default, for it is an option")
    help_of = dict(re.findall(r"^\s*(\w+): (.+)$", inspect.getdoc(study) or "", flags=re.MULTILINE))
    fields = [
        (
            parameter.name,
            Annotated[parameter.annotation, tyro.conf.arg(help=help_of.get(parameter.name, ""))],
            dataclasses.field(default=parameter.default),
        )
        for parameter in inspect.signature(study).parameters.values()
    ]
    return dataclasses.make_dataclass("Parameters", fields, frozen=True, kw_only=True)
