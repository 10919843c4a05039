import numpy as np
import pyarrow as pa
import pytest
from made_arms import rates

from analysis.learning_rates import rate_curves, tuned
from analysis.tables.table import canonical, column


def table_of(rows):
    return canonical([{"params": 1e4, "tokens": 1e6, "flops": 6e10, **row} for row in rows], "made")


def test_every_arm_and_size_has_a_curve_of_its_own():
    table, manifest = rates()
    arm_of = {run.run_id: run.arm for run in manifest.runs}
    arms = pa.array([arm_of[name] for name in table["run_id"].to_pylist()])
    best = {(curve.arm, curve.label): curve.best for curve in rate_curves(table.append_column("arm", arms))}
    assert list(best)[:2] == [("standard", "width 16"), ("standard", "width 32")] and len(best) == 8
    assert [best["muP", f"width {width}"] for width in (16, 32, 64, 128)] == pytest.approx([2.0**-8] * 4, rel=1e-6)
    assert best["standard", "width 16"] == pytest.approx(2 * best["standard", "width 32"], rel=1e-6)


def test_a_rate_between_those_tried_is_found():
    losses = {lr: 3 + np.log(lr / 3e-3) ** 2 for lr in (1e-3, 2e-3, 4e-3, 8e-3)}
    (curve,) = rate_curves(table_of([{"lr": lr, "loss": loss} for lr, loss in losses.items()]))
    assert curve.best == pytest.approx(3e-3, rel=1e-6) and curve.edge == ""  # a parabola in ln lr, recovered exactly


@pytest.mark.parametrize(("losses", "edge"), [((1.0, 2.0, 3.0), "lowest"), ((3.0, 2.0, 1.0), "highest")])
def test_a_best_rate_at_the_edge_is_said(losses, edge):
    (curve,) = rate_curves(
        table_of([{"lr": 10.0**-i, "loss": loss} for i, loss in zip((3, 2, 1), losses, strict=True)])
    )
    assert curve.edge == edge and curve.best == curve.lr[np.argmin(curve.loss)]


def test_two_rates_make_no_curve():
    assert rate_curves(table_of([{"lr": 1e-3, "loss": 3.0}, {"lr": 2e-3, "loss": 3.1}])) == ()


def test_seeds_are_averaged_before_the_best_rate_is_chosen():
    rows = [{"lr": 1e-3, "loss": 2.0, "seed": 0}, {"lr": 1e-3, "loss": 4.0, "seed": 1}]
    rows += [{"lr": 2e-3, "loss": 2.9, "seed": seed} for seed in (0, 1)]
    assert column(tuned(table_of(rows)), "lr").tolist() == [2e-3, 2e-3]


def test_runs_of_other_sizes_are_tuned_apart():
    rows = [
        {"lr": lr, "loss": lr if size == 1e4 else 1 / lr, "params": size} for size in (1e4, 2e4) for lr in (1.0, 2.0)
    ]
    kept = tuned(table_of(rows))
    assert dict(zip(column(kept, "params"), column(kept, "lr"), strict=True)) == {1e4: 1.0, 2e4: 2.0}


def test_without_rates_nothing_is_left_out():
    table = table_of([{"loss": 3.0}, {"loss": 3.1}])
    assert tuned(table).num_rows == 2 and rate_curves(table) == ()
