"""The arms of a study side by side: how each one's loss falls, whether their exponents are equal, what one is worth.

An arm is a family, an objective or a recipe: whatever a study says its runs are
compared as. Losses are compared within one objective only: those of two
objectives are of different tokens. What cannot be done is said, and hides
nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.analyse import NotDone
from analysis.compared_arm import SAME, ComparedArm, attempt, axis_name, common_axis, compared
from analysis.decisions import estimate
from analysis.doubt import Doubt
from analysis.isoflop import PowerLaw
from analysis.laws import power_law
from analysis.leaders import Ranking, rankings
from analysis.learning_rates import RateCurve, rate_curves
from analysis.misfit import SeedNoise, seed_noise
from analysis.pooled import Equality, pool
from analysis.repeats import Repeats, repeats
from analysis.tables.table import Manifest, Selection, column, select
from analysis.words import Estimate

POSITION = "loss_by_position."  # columns of the loss at places in a sequence
UNNAMED = "no arm"  # runs that the study names no arm for
CUTTING = ("tokenizer", "vocab", "content")  # columns that decide what a token is; a tokenizer is learned of its text
MOST_POOLED = 12  # arms of one fit: beyond, its parameters are many and what it says is little
NATS, BITS = "nats per token", "bits per byte"


@dataclass(frozen=True, kw_only=True)
class SameExponent:
    """The test whether several arms have one exponent."""

    of: str  # what falls or grows, such as "loss against FLOPs"
    arms: tuple[str, ...]
    result: Equality


@dataclass(frozen=True, kw_only=True)
class Worth:
    """How many times the x of one arm another needs for the same loss, by their lines.

    The loss is the lowest that both lines reach within their points.
    """

    first: str
    second: str
    loss: float
    x: float  # of the first arm
    factor: Estimate
    inside: bool  # whether both lines have that loss within their points; else one begins below it


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a study's arms say. A part that could not be computed is missing, with its reason in `not_done`."""

    selection: Selection
    x: str  # the column that losses are drawn against: flops, params where all runs saw as many tokens, or tokens
    unit: str  # of the losses: nats per token; bits per byte where not all runs read the same tokens
    arms: tuple[ComparedArm, ...]
    baselines: pa.Table  # runs that took no training FLOPs, such as counted n-grams; column `arm`
    same: tuple[SameExponent, ...]
    worth: tuple[Worth, ...]
    rankings: tuple[Ranking, ...]  # of the arms at each budget
    rates: tuple[RateCurve, ...]
    repeats: Repeats | None  # where arms differ in how often they read their tokens
    seeds: SeedNoise | None  # of all arms together
    not_done: tuple[NotDone, ...]
    warnings: tuple[Doubt, ...]
    seed: int
    draws: int

    @property
    def table(self) -> pa.Table:
        """All usable runs, with the column `arm`."""
        return self.selection.table

    @property
    def objectives(self) -> tuple[str, ...]:
        """In the order of the arms."""
        return tuple(dict.fromkeys(arm.objective for arm in self.arms))

    def of(self, objective: str) -> tuple[ComparedArm, ...]:
        return tuple(arm for arm in self.arms if arm.objective == objective)


def compare_arms(
    table: pa.Table,
    manifest: Manifest,
    *,
    seed: int = 0,
    draws: int = 1000,
    drop_incomplete: bool = False,
    trust_flops: bool = False,
) -> Comparison:
    """Select the usable runs of each arm, fit each, and compare.

    manifest: names the runs and their arms. seed: of the resampling; the same
    table and seed give the same result. drop_incomplete, trust_flops: see
    `analysis.tables.selection`.
    """
    table = _named(table, manifest)  # before the selection: two arms may have a run that came out the same
    free = _untrained(table, manifest)
    table, unit = _comparable(table, manifest)
    trained = replace(manifest, runs=tuple(run for run in manifest.runs if run.run_id not in free))
    selection = select(table, trained, drop_incomplete=drop_incomplete, trust_flops=trust_flops, counted=True)
    not_done: list[NotDone] = []
    x = common_axis(selection.table)
    arms = tuple(compared(part, x, not_done, draws=draws, seed=seed) for part in _parts(selection.table, manifest))
    same, worth = tuple(_same_exponents(arms, x, not_done)), tuple(_worths(arms, not_done))
    rates = rate_curves(selection.table)
    seeds = _pooled_seeds(arms)
    return Comparison(
        selection=selection,
        x=x,
        unit=unit,
        arms=arms,
        baselines=table.filter(pc.is_in(table["run_id"], pa.array(sorted(free), pa.string()))),
        same=same,
        worth=worth,
        rankings=rankings(arms),
        rates=rates,
        repeats=_repeats(arms, not_done, draws, seed),
        seeds=seeds,
        not_done=_together(not_done),
        warnings=(*selection.doubts, *_cautions(arms, unit, rates, seeds)),
        seed=seed,
        draws=draws,
    )


def _together(not_done: Sequence[NotDone]) -> tuple[NotDone, ...]:
    """What several arms lack for one reason, said once."""
    arms: dict[tuple[str, str], list[str]] = {}
    for item in not_done:
        arm, _, part = item.part.rpartition(": ")
        arms.setdefault((part, item.reason), []).append(arm)
    return tuple(
        NotDone(part=f"{'; '.join(names)}: {part}" if names[0] else part, reason=reason)
        for (part, reason), names in arms.items()
    )


def positions(table: pa.Table, row: int) -> dict[int, float]:
    """Mean loss of a run's tokens up to each place of a sequence from the place before; empty where not recorded."""
    names = [name for name in table.column_names if name.startswith(POSITION)]
    found = {int(name.removeprefix(POSITION)): column(table, name)[row] for name in names}
    return {place: float(found[place]) for place in sorted(found) if np.isfinite(found[place])}


def _untrained(table: pa.Table, manifest: Manifest) -> set[str]:
    """Finished runs of the study that took no training FLOPs: nothing can be drawn or fitted against their compute.

    Where none took any, they are what is compared: against their tokens.
    """
    ids, status, flops = table["run_id"].to_pylist(), table["status"].to_pylist(), column(table, "flops")
    planned = {run.run_id for run in manifest.runs}
    finished = {i: c for i, s, c in zip(ids, status, flops, strict=True) if i in planned and s == "finished"}
    return {i for i, c in finished.items() if c == 0} if any(finished.values()) else set()


def _named(table: pa.Table, manifest: Manifest) -> pa.Table:
    """With the column `arm`, a name of its own for every arm and objective of the study; "" for other studies' runs."""
    arm_of = {run.run_id: run.arm or UNNAMED for run in manifest.runs}
    arms = [arm_of.get(name, "") for name in table["run_id"].to_pylist()]
    goals = _objectives(table)
    goals_of: dict[str, set[str]] = {}
    for arm, goal in zip(arms, goals, strict=True):
        goals_of.setdefault(arm, set()).update([goal] if goal else [])
    names = [
        f"{arm}, {goal.replace('_', ' ')}" if arm and goal and len(goals_of[arm]) > 1 else arm
        for arm, goal in zip(arms, goals, strict=True)
    ]
    for name, values in (("arm", names), ("arm_in_study", arms)):
        table = table.append_column(name, pa.array(values, pa.string()))
    return table


def _comparable(table: pa.Table, manifest: Manifest) -> tuple[pa.Table, str]:
    """The table with losses that compare, and their unit: bits per byte where runs of the study read other tokens."""
    planned = {run.run_id for run in manifest.runs}
    ours = table.filter(pa.array([name in planned for name in table["run_id"].to_pylist()]))
    have_loss = ours.filter(pc.is_valid(ours["loss"]))
    if not _tokens_differ(have_loss) or not _all_have_bits(have_loss):
        return table, NATS
    bits, nats = table["bits_per_byte"], table["loss"]
    error = pc.multiply(table["loss_se"], pc.divide(bits, nats))
    for name, values in (("loss", bits), ("loss_se", error)):
        table = table.set_column(table.column_names.index(name), name, values)
    return table, BITS


def _tokens_differ(table: pa.Table) -> bool:
    return any(len(set(table[name].to_pylist()) - {None}) > 1 for name in CUTTING if name in table.column_names)


def _all_have_bits(table: pa.Table) -> bool:
    return "bits_per_byte" in table.column_names and np.isfinite(column(table, "bits_per_byte")).all()


def _objectives(table: pa.Table) -> list[str]:
    """Of each run; "" where the table does not say."""
    known = "objective" in table.column_names
    return [goal or "" for goal in table["objective"].to_pylist()] if known else [""] * table.num_rows


def _parts(table: pa.Table, manifest: Manifest) -> list[pa.Table]:
    """The rows of each arm and objective, objective by objective, both in the order of the study."""
    keys = list(zip(_objectives(table), table["arm_in_study"].to_pylist(), strict=True))
    place_of = {run.run_id: place for place, run in enumerate(manifest.runs)}
    places = [place_of[name] for name in table["run_id"].to_pylist()]
    first: dict[Any, int] = {}
    for place, key in sorted(zip(places, keys, strict=True)):
        first.setdefault(key[0], place)
        first.setdefault(key, place)
    wanted = sorted(set(keys), key=lambda key: (first[key[0]], key[1] == UNNAMED, first[key]))
    return [table.filter(pa.array([key == own for own in keys])) for key in wanted]


def _same_exponents(arms: Sequence[ComparedArm], x: str, not_done: list[NotDone]) -> list[SameExponent]:
    """Of the loss within each objective, and of the best size over all arms that have isoFLOP minima."""
    found = []
    for objective in dict.fromkeys(arm.objective for arm in arms):
        lines = {arm.name: arm.points for arm in arms if arm.objective == objective and arm.line}
        by = f" ({objective.replace('_', ' ')})" if objective else ""
        found.append(_same(f"loss against {axis_name(x)}{by}", lines, not_done))
    sizes = {
        arm.name: np.array([[m.flops for m in arm.isoflop.usable], [m.params for m in arm.isoflop.usable]])
        for arm in arms if arm.isoflop and arm.isoflop.params
    }  # fmt: skip
    found.append(_same("best size against FLOPs", sizes, not_done))
    return [item for item in found if item]


def _same(of: str, points: dict[str, np.ndarray], not_done: list[NotDone]) -> SameExponent | None:
    """The test on the points (2, n) of each arm; None with fewer than two arms."""
    if len(points) < 2:
        return None
    if len(points) > MOST_POOLED:
        why = f"{len(points)} arms; it is done for up to {MOST_POOLED}"
        not_done.append(NotDone(part=f"test of equal exponents, {of}", reason=why))
        return None
    together = np.concatenate(list(points.values()), axis=1)
    names = [name for name, own in points.items() for _ in range(own.shape[1])]
    data = {"arm": np.array(names), "x": together[0], "y": together[1]}
    part = f"test of equal exponents, {of}"
    pooled = attempt(part, not_done, lambda: pool(power_law("y", "x"), data, shared=("b",)))
    return pooled and SameExponent(of=of, arms=tuple(points), result=pooled.equality)


def _worths(arms: Sequence[ComparedArm], not_done: list[NotDone]) -> list[Worth]:
    """Every arm against the first of its objective, of those whose lines fall."""
    found = []
    for objective in dict.fromkeys(arm.objective for arm in arms):
        lined = [arm for arm in arms if arm.objective == objective and arm.line]
        falling = [arm for arm in lined if arm.line.exponent.value < 0]
        found += [_worth(falling[0], other) for other in falling[1:]]
        reason = "its loss does not fall"
        not_done += [NotDone(part=f"{arm.name}: worth", reason=reason) for arm in lined if arm not in falling]
    return found


def _worth(first: ComparedArm, second: ComparedArm) -> Worth:
    """x of `second` over that of `first`, at the loss where the line that ends higher ends."""
    loss = max(float(np.min(arm.line(arm.points[0]))) for arm in (first, second))
    pairs = min(len(first.line.draws), len(second.line.draws)) + 1
    needed, other = (_reached(arm.line, loss)[:pairs] for arm in (first, second))
    ends = [(x[0], arm.points[0]) for x, arm in ((needed, first), (other, second))]
    return Worth(
        first=first.name, second=second.name, loss=loss, x=float(needed[0]), factor=estimate(other / needed),
        inside=all(points.min() / SAME <= x <= points.max() * SAME for x, points in ends),
    )  # fmt: skip


def _reached(line: PowerLaw, loss: float) -> np.ndarray:
    """(R + 1,) x at which the line, and each of its draws, has a loss."""
    constant, slope = _draws(line).T
    with np.errstate(over="ignore", divide="ignore"):  # a draw whose line is flat never has it
        return np.exp((np.log(loss) - constant) / slope)


def _draws(line: PowerLaw) -> np.ndarray:
    """(R + 1, 2) ln coefficient and exponent: the line's, then those of its draws."""
    return np.vstack([[np.log(line.coefficient), line.exponent.value], line.draws])


def _repeats(arms: Sequence[ComparedArm], not_done: list[NotDone], draws: int, seed: int) -> Repeats | None:
    if not arms:
        return None
    runs = pa.concat_tables([arm.best for arm in arms], promote_options="default")
    return attempt("what repeated tokens are worth", not_done, lambda: repeats(runs, draws, seed))


def _pooled_seeds(arms: Sequence[ComparedArm]) -> SeedNoise | None:
    """The noise of the seeds over all arms, each against itself."""
    found = [noise for arm in arms if (noise := seed_noise(arm.table))]
    if not found:
        return None
    freedom = sum(noise.freedom for noise in found)
    squares = sum(noise.scale**2 * noise.freedom for noise in found)
    return SeedNoise(scale=float(np.sqrt(squares / freedom)), freedom=freedom, cells=sum(n.cells for n in found))


def _cautions(
    arms: Sequence[ComparedArm], unit: str, rates: Sequence[RateCurve], seeds: SeedNoise | None
) -> list[Doubt]:
    found = []
    if unit == NATS and arms and _tokens_differ(pa.concat_tables([a.table for a in arms], promote_options="default")):
        text = "the runs read different tokens, and not all have bits per byte: nats per token do not compare"
        found.append(Doubt(name="other_tokens", text=text))
    if len({arm.objective for arm in arms}) > 1:
        text = "losses of different objectives are of different tokens: compare levels within one objective only"
        found.append(Doubt(name="several_objectives", text=text))
    if seeds is None and arms:
        text = "no setting was trained with two seeds: how far two arms differ by chance is not known"
        found.append(Doubt(name="no_seeds", text=text))
    return [*found, *_edges(rates)]


def _edges(rates: Sequence[RateCurve]) -> list[Doubt]:
    """For each arm the settings whose best learning rate may lie beyond those tried."""
    at: dict[tuple[str, str], list[str]] = {}
    for curve in rates:
        if curve.edge:
            at.setdefault((curve.arm, curve.edge), []).append(curve.label)
    return [
        Doubt(
            name="lr_at_edge",
            text=f"{arm}: the best learning rate is the {edge} tried at {'; '.join(labels)}; try further",
        )
        for (arm, edge), labels in at.items()
    ]
