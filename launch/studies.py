"""Studies by name, and their keyword parameters as typed command-line options."""

import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

import experiments
from scaling.plan import Study


def names() -> list[str]:
    """Every file in experiments/ is a study."""
    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__))


def find(name: str) -> Callable[..., Study]:
    """The `study` function of experiments/<name>.py."""
    if name not in names():
        raise ValueError(f"no study {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"experiments.{name}").study


def summary(name: str) -> str:
    """First line of a study file's docstring, read without importing it."""
    module = importlib.util.find_spec(f"experiments.{name}")
    found = re.match(r'\s*"""(.*?)(\n|""")', Path(module.origin).read_text(encoding="utf-8"))
    return found[1] if found else ""


def parse(name: str, options: type, arguments: list[str], prog: str) -> tuple[Any, Study]:
    """A command's own options and the study, both from one command line."""
    study = find(name)
    parameters = _parameters(study)
    required = any(f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(options))
    own = dataclasses.field() if required else dataclasses.field(default_factory=options)
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("command", tyro.conf.OmitArgPrefixes[options], own),
            ("study", tyro.conf.OmitArgPrefixes[parameters], dataclasses.field(default_factory=parameters)),
        ],
    )
    parsed = tyro.cli(both, args=arguments, prog=f"{prog} {name}", description=inspect.getdoc(study).partition("\n")[0])
    values = {field.name: getattr(parsed.study, field.name) for field in dataclasses.fields(parameters)}
    made = study(**values)
    return parsed.command, dataclasses.replace(made, name=_variant(made.name, values, parameters()))


def _variant(name: str, values: dict[str, Any], defaults: Any) -> str:
    """A study's own name, marked when its parameters are not the defaults, so that reports lie side by side."""
    changed = {key: value for key, value in values.items() if value != getattr(defaults, key)}
    return f"{name}-{hashlib.sha256(repr(sorted(changed.items())).encode()).hexdigest()[:6]}" if changed else name


def _parameters(study: Callable[..., Study]) -> type:
    """The keyword parameters of a study as a dataclass, with the docstring's `name: meaning` lines as help."""
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
