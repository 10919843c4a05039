import math
import os

import pyarrow.parquet as pq
import pytest

from scaling.curve import COLUMNS, CurveWriter, compact, first_live, last_live, read_final, read_live, tail_live
from scaling.record import RecordError


def row(step, loss=2.5):
    return dict.fromkeys(COLUMNS, 1.0) | {"step": step, "tokens": 64 * step, "loss": loss}


@pytest.fixture
def path(tmp_path):
    writer = CurveWriter(tmp_path / "curve.jsonl", after_step=0)
    for step in (1, 2, 3):
        writer.append(row(step))
    writer.close()
    return tmp_path / "curve.jsonl"


def test_rows_come_back_as_they_were_written(path):
    assert read_live(path) == [row(1), row(2), row(3)]
    assert last_live(path)["step"] == 3


def test_a_torn_last_line_is_dropped(path):
    with path.open("a") as file:
        file.write('{"step": 4, "tok')
    assert [found["step"] for found in read_live(path)] == [1, 2, 3]
    assert last_live(path)["step"] == 3


def test_a_resumed_curve_drops_what_follows_its_checkpoint(path):
    writer = CurveWriter(path, after_step=2)
    writer.append(row(3, loss=9.0))
    writer.close()
    assert [(found["step"], found["loss"]) for found in read_live(path)] == [(1, 2.5), (2, 2.5), (3, 9.0)]


def test_a_non_finite_loss_is_kept(path):
    writer = CurveWriter(path, after_step=3)
    writer.append(row(4, loss=math.inf))
    writer.close()
    assert math.isnan(read_live(path)[-1]["loss"])


def test_a_compacted_curve_holds_the_same_rows(path, tmp_path):
    compact(path, tmp_path / "curve.parquet")
    table = pq.read_table(tmp_path / "curve.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == [row(1), row(2), row(3)]


def test_a_curve_with_skipped_steps_has_a_column_for_them(path, tmp_path):
    writer = CurveWriter(path, after_step=3)
    writer.append(row(4, loss=math.nan) | {"skipped": 1})
    writer.append(row(5))
    writer.close()
    assert ["skipped" in found for found in read_live(path)] == [False, False, False, True, False]
    compact(path, tmp_path / "curve.parquet")
    table = pq.read_table(tmp_path / "curve.parquet")
    assert table.column_names == [*COLUMNS, "skipped"]
    assert table["skipped"].to_pylist() == [0, 0, 0, 1, 0]


def test_the_seconds_of_steps_that_are_trained_again_are_known(path):
    writer = CurveWriter(path, after_step=1)
    writer.close()
    assert writer.dropped_seconds == 2.0  # of steps 2 and 3, a second each


def test_a_damaged_curve_is_refused_with_its_line_and_looking_on_survives_it(path):
    path.write_text(path.read_text() + "damaged\n")
    with pytest.raises(RecordError, match="line 4 is no row of a curve: 'damaged'"):
        read_live(path)
    assert last_live(path)["step"] == 3


def test_a_run_without_a_curve_has_no_rows(tmp_path):
    assert read_live(tmp_path / "none") == []
    assert last_live(tmp_path / "none") is None


def test_the_end_of_a_curve_is_read_without_what_is_cut_off(path):
    lines = path.read_text().splitlines(keepends=True)
    assert [found["step"] for found in tail_live(path, size=len(lines[2]) + 5)] == [3]
    assert [found["step"] for found in tail_live(path, size=10_000)] == [1, 2, 3]
    assert tail_live(path.with_name("none"), size=100) == []


def test_the_first_row_says_where_a_run_began(path, tmp_path):
    assert first_live(path)["step"] == 1
    assert first_live(tmp_path / "none") is None
    torn = tmp_path / "torn"
    torn.write_text('{"step": 1')
    assert first_live(torn) is None


def test_a_curve_cut_at_any_byte_keeps_its_whole_rows(path):
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        steps = list(range(1, 1 + sum(end <= length for end in ends)))
        assert [found["step"] for found in read_live(path)] == steps
        assert [found["step"] for found in tail_live(path, size=10_000)] == steps
        assert (first_live(path) is None) == (not steps)
        assert (last_live(path) or {"step": 0})["step"] == len(steps)


def test_a_compacted_curve_cut_at_any_byte_is_refused(path, tmp_path):
    final = tmp_path / "curve.parquet"
    compact(path, final)
    for length in reversed(range(final.stat().st_size)):
        os.truncate(final, length)
        with pytest.raises(RecordError, match=r"curve\.parquet: not a whole curve .*train it again, or restore"):
            read_final(final)
    with pytest.raises(FileNotFoundError):
        read_final(tmp_path / "none")


def test_rows_are_on_the_disk_before_a_checkpoint_is(path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append([row["step"] for row in read_live(path)]))
    writer = CurveWriter(path, after_step=3)
    writer.append(row(4))
    writer.sync()
    writer.close()
    assert synced == [[1, 2, 3, 4]]
