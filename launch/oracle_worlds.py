"""What is known of runs of a table in worlds whose law is known, beside what their records say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from launch.options import console
from scaling.config import NgramConfig, RunConfig, ZipfWorld, run_id
from scaling.plan_file import PlanFile
from scaling.workspace import Workspace

if TYPE_CHECKING:
    from analysis.oracle import Arm


def known_worlds(plan: PlanFile) -> dict[str, list[RunConfig]] | None:
    """The runs of each arm of a plan, where the expected loss of all can be computed; else None.

    That is so for tables of single tokens in Zipf worlds. Arms are compared, so
    there are two or more, and all have the same sizes and tokens.
    """
    kinds = {(entry["config"]["model"].get("kind"), entry["arm"] != "") for entry in plan.runs.values()}
    if kinds != {(NgramConfig.kind, True)}:
        return None
    arms: dict[str, list[RunConfig]] = {}
    for name, entry in plan.runs.items():
        arms.setdefault(entry["arm"], []).append(plan.planned(name).run)
    runs = [run for of_arm in arms.values() for run in of_arm]
    designs = {tuple((run.model.rows, run.tokens) for run in of_arm) for of_arm in arms.values()}
    return arms if len(arms) > 1 and len(designs) == 1 and all(map(_known, runs)) else None


def _known(run: RunConfig) -> bool:
    model, data = run.model, run.data
    table = model.order == 2 and model.pseudocounts is not None
    return table and data.tokenizer == "characters" and isinstance(data.source.world, ZipfWorld)


def read_arms(arms: dict[str, list[RunConfig]], workspace: Workspace) -> "list[Arm]":
    """Measured losses from the records, as every analysis reads them, with what the worlds' laws say of them."""
    from analysis.tables.table import read_table

    table = read_table(workspace.runs)
    losses = dict(zip(table["run_id"].to_pylist(), table["loss"].to_pylist(), strict=True))
    runs = [run for of_arm in arms.values() for run in of_arm]
    missing = [run_id(run) for run in runs if losses.get(run_id(run)) is None]
    if missing:
        raise ValueError(f"{len(missing)} of {len(runs)} runs have no loss yet, the first {missing[0]}; launch again")
    floors = {run.data: heldout_floor(run, workspace) for run in {run.data: run for run in runs}.values()}
    return [_arm(name, of_arm, losses, floors[of_arm[0].data]) for name, of_arm in arms.items()]


def _arm(name: str, runs: Sequence[RunConfig], losses: dict[str, float], floor_heldout: float) -> "Arm":
    from analysis.oracle import Arm
    from scaling.data.worlds import floor

    world = runs[0].data.source.world
    return Arm(
        name=name,
        sizes=np.array([_size(run) for run in runs], float),
        tokens=np.array([run.tokens for run in runs], float),
        loss=np.array([losses[run_id(run)] for run in runs]),
        expected=np.array([expected(run) for run in runs]),
        floor=floor(world).nats_per_token,
        floor_heldout=floor_heldout,
        alpha=world.alpha,
    )


def expected(run: RunConfig) -> float:
    """The mean loss over samples of the run's world."""
    from scaling.data.tokenizer import BYTES
    from scaling.data.worlds.tabular import expected_loss
    from scaling.data.worlds.zipf import law

    world, model = run.data.source.world, run.model
    kept_K = None if model.rows is None else BYTES + law(world).characters_K < model.rows
    return expected_loss(world, run.tokens, model.vocab, model.pseudocounts, kept_K)


def _size(run: RunConfig) -> float:
    """Contexts that have a row."""
    contexts = run.data.source.world.contexts
    return contexts if run.model.rows is None else run.model.rows - (run.data.vocab - contexts)


def heldout_floor(run: RunConfig, workspace: Workspace) -> float:
    """Mean nats a token of the held-out text by the world's own law: no reader's loss on it should be lower by chance.

    It is off the world's floor by the luck of that text, which all runs of a world share.
    """
    from scaling.data.prepare import prepare
    from scaling.data.tokenizer import BYTES
    from scaling.data.worlds.zipf import nats
    from scaling.training.feed import Feed

    windows_BW = Feed(run, prepare(run.data, workspace.root, console.print)).heldout.window
    points_BW = windows_BW - BYTES  # of the end of a document: -1
    return float(nats(run.data.source.world, points_BW[:, :-1], points_BW[:, 1:]).mean())
