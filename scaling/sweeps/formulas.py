"""What a sweep that is written in a file may say of a run: a condition on it, or a field computed from others."""

from collections.abc import Callable
from typing import Any, get_type_hints

from scaling.config import RunConfig, lengths
from scaling.config.fields import frozen, strict
from scaling.counts import params, train_flops
from scaling.sweeps import budgets
from scaling.sweeps.nodes import Node
from scaling.sweeps.rows import Row, field_of

ROUNDED = ("tokens", "schedule.warmup_tokens")  # derived, they are rounded to whole steps

# What `where` can ask of a run beside its fields.
MEASURES: dict[str, Callable[[RunConfig], float]] = {
    "params": lambda run: params(run.model, run.objective).total,
    "tokens_per_param": lambda run: run.tokens / params(run.model, run.objective).total,
    "flops": lambda run: train_flops(run.model, run.tokens, run.objective).exact,
    "steps": lambda run: run.steps,
}


@strict
@frozen
class Condition:
    """On a field of the run or on one of MEASURES; all that is given must hold."""

    field: str
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[float | str | bool, ...] | None = None
    reason: str | None = None

    def __str__(self) -> str:
        said = [
            *([f"at least {self.at_least:g}"] if self.at_least is not None else []),
            *([f"at most {self.at_most:g}"] if self.at_most is not None else []),
            *([f"one of {', '.join(map(str, self.one_of))}"] if self.one_of is not None else []),
        ]
        return " and ".join(said)

    def holds(self, value: Any) -> bool:
        low, high = (value if bound is None else bound for bound in (self.at_least, self.at_most))
        return (low is high or low <= value <= high) and (self.one_of is None or value in self.one_of)


def condition(given: Node, base: RunConfig) -> tuple[Callable[[RunConfig], bool], str]:
    """Whether a run is kept, and the reason for those that are not."""
    asked = given.read(Condition)
    field = asked.field
    if not str(asked):
        given.fail("give at_least, at_most or one_of")
    if field not in MEASURES:
        kind = kind_of(given["field"], base, field, extra=MEASURES)
        if asked.one_of is None and kind not in (int, float, int | None, float | None):
            given["field"].fail(f"{field} is no number; give one_of")

    def keep(run: RunConfig) -> bool:
        value = MEASURES[field](run) if field in MEASURES else _read(run, field)
        return value is None or asked.holds(value)

    return keep, asked.reason or f"{field} is not {asked}"


@strict
@frozen
class PowerLaw:
    """times * (of / at) ** power; with `of` alone, a copy."""

    of: str  # a field, or params: all parameters of the row's model
    times: float | str = 1.0  # a number, or the field that holds it
    power: float = 1.0
    at: float = 1.0


def computed(form: Node, base: RunConfig, path: str) -> Callable[[Row], Any]:
    """The value of a row's field by a power law of another."""
    kind = kind_of(form, base, path)
    law = form.read(PowerLaw)
    if law.of != "params":
        kind_of(form["of"], base, law.of, extra=("params",))
    if isinstance(law.times, str):
        kind_of(form["times"], base, law.times)
    if law.at <= 0:
        form["at"].fail(f"{law.at:g} is not above 0")

    def value(row: Row) -> Any:
        found = params(row["model"], row["objective"]).total if law.of == "params" else row[law.of]
        if law == PowerLaw(of=law.of) and law.of != "params":
            return found
        if isinstance(found, bool) or not isinstance(found, int | float) or found <= 0:
            form["of"].fail(f"{law.of} is {found!r} in row {row}; a power law needs a number above 0")
        times = row[law.times] if isinstance(law.times, str) else law.times
        computed = times * (found / law.at) ** law.power
        if path in ROUNDED:
            return budgets.round_tokens(computed, row["batch"] * lengths(row["model"], row["objective"]).text)
        return round(computed) if kind is int else computed

    return value


def kind_of(node: Node, base: RunConfig, path: str, extra: Any = ()) -> Any:
    """The type of a run's field by its dotted path; fails at `node` for one that there is not."""
    config: Any = base
    *parts, last = path.split(".")
    try:
        for part in parts:
            config = field_of(config, part)
        field_of(config, last)
    except ValueError as error:
        node.fail(f"{path!r}: {error}" + (f"; or one of {', '.join(extra)}" if extra else ""))
    return get_type_hints(type(config), include_extras=True)[last]


def _read(run: RunConfig, path: str) -> Any:
    value: Any = run
    for part in path.split("."):
        value = getattr(value, part)
    return value
