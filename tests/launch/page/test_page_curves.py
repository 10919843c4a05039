import math

import numpy as np
import pytest

from launch.page.curves import GrowingCurve, per_decade, thinned
from scaling.curve import CurveWriter, compact
from scaling.record import RunDirectory
from tests.launch.page.made import row


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path)


def test_each_look_takes_up_what_was_added_and_leaves_a_line_that_is_being_written(directory):
    curve = GrowingCurve(directory)
    curve.look()
    assert curve.last is None and curve.tokens_per_second() is None
    writer = CurveWriter(directory.live_curve, after_step=0)
    for step in (1, 2, 3):
        writer.append(row(step))
    writer.close()
    curve.look()
    with directory.live_curve.open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "tok')
    curve.look()
    assert [int(found[0]) for found in curve.rows] == [1, 2, 3]
    assert curve.last["step"] == 3
    assert curve.tokens_per_second() == 64 / 0.5  # a step of 64 tokens takes half a second


def test_a_resumed_run_is_read_anew_from_its_shortened_file(directory):
    curve, writer = GrowingCurve(directory), CurveWriter(directory.live_curve, after_step=0)
    for step in range(1, 6):
        writer.append(row(step))
    writer.close()
    curve.look()
    resumed = CurveWriter(directory.live_curve, after_step=2)
    resumed.append(row(3, loss=1.0))
    resumed.close()
    curve.look()
    assert [int(found[0]) for found in curve.rows] == [1, 2, 3]
    assert curve.last["loss"] == 1.0


def test_an_ended_run_is_read_from_parquet(directory):
    curve, writer = GrowingCurve(directory), CurveWriter(directory.live_curve, after_step=0)
    for step in (1, 2):
        writer.append(row(step))
    writer.close()
    curve.look()
    compact(directory.live_curve, directory.curve)
    directory.live_curve.unlink()
    curve.look()
    curve.look()
    assert [int(found[0]) for found in curve.rows] == [1, 2]


def test_a_broken_line_and_a_loss_that_is_no_number_do_not_stop_the_reading(directory):
    writer = CurveWriter(directory.live_curve, after_step=0)
    writer.append(row(1))
    writer.append(row(2, loss=math.nan))
    writer.close()
    with directory.live_curve.open("a", encoding="utf-8") as file:
        file.write('["no row"]\nnonsense\n{"step": "x"}\n')
    curve = GrowingCurve(directory)
    curve.look()
    thin = curve.thin(10)
    assert len(curve.rows) == 2 and thin.loss.tolist() == [3.0]


def test_thinning_keeps_the_mean_of_every_stretch_and_of_a_whole_decade_so_many_points():
    flops, loss = np.arange(1.0, 1001.0), np.linspace(5, 3, 1000)
    thin = thinned(flops, loss, 10)
    # Three decades of ten stretches and the last value; the first steps stand alone, so fewer where steps are sparse.
    assert 20 < len(thin.loss) <= 31
    assert (np.diff(thin.flops) > 0).all() and (np.diff(thin.loss) < 0).all()
    inside = (np.floor(np.log10(flops) * 10) == 25).nonzero()[0]
    place = np.flatnonzero(np.floor(np.log10(thin.flops) * 10) == 25)
    assert thin.loss[place] == pytest.approx(loss[inside].mean())
    assert len(thinned(np.array([]), np.array([]), 10).loss) == 0


def test_the_more_curves_the_fewer_points_each():
    assert per_decade(range(3)) == 30 and per_decade(range(100)) == 12 and per_decade(range(10_000)) == 8


def test_a_damaged_file_of_an_ended_run_is_passed_over_and_named(directory):
    directory.curve.write_bytes(b"PAR1 and no more")
    curve = GrowingCurve(directory)
    curve.look()
    assert curve.rows == [] and f"{directory.curve}: not a whole curve" in curve.problem
