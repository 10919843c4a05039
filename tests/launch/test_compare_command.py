"""Two runs side by side."""

import json
from dataclasses import replace

import numpy as np
import pytest

from launch.compare_command import aligned, compare, different, find, side
from scaling.config import run_id
from scaling.curve import COLUMNS, compact
from tests.launch import made


@pytest.fixture
def study(tmp_path):
    return made.launched(tmp_path)


def curve(directory, batch_tokens, losses):
    rows = [
        dict.fromkeys(COLUMNS, 0.0) | {"step": step, "tokens": step * batch_tokens, "loss": loss}
        for step, loss in enumerate(losses, start=1)
    ]
    directory.live_curve.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_configs_differ_field_by_field(study):
    run = study[0].runs[3]
    other = replace(run, seed=2, model=replace(run.model, dim=32))
    assert different(run, other) == [("model.dim", 16, 32), ("seed", 1, 2)]
    assert different(run, run) == []


def test_curves_are_laid_side_by_side_at_the_same_tokens_whatever_their_batches(study):
    found, workspace = study
    one, other = found.runs[0], found.runs[3]
    first, second = made.begin(workspace, one, 0), made.begin(workspace, other, 0)
    curve(first, 64, [1.0] * 10 + [2.0] * 10)  # 1,280 tokens
    curve(second, 128, [5.0] * 5 + [7.0] * 20)  # 3,200 tokens, in steps of twice the size
    rows = np.array(aligned(side(first), side(second), parts=2))
    # Both curves cover 64 to 1,280 tokens; no step of either crosses the middle, 672.
    np.testing.assert_array_equal(rows, [[672, 1.0, 5.0], [1280, 2.0, 7.0]])


def test_curves_without_a_token_in_common_align_nowhere(study):
    found, workspace = study
    first = made.begin(workspace, found.runs[0], 4)
    none = made.begin(workspace, found.runs[3], 0)
    assert aligned(side(first), side(none)) == []


def test_a_finished_runs_curve_is_read_from_parquet(study):
    found, workspace = study
    directory = made.settle(workspace, found.runs[3])
    curve(directory, 64, [3.0, 2.0])
    compact(directory.live_curve, directory.curve)
    directory.live_curve.unlink()
    np.testing.assert_array_equal(side(directory).loss, [3.0, 2.0])


def test_a_run_is_found_by_id_prefix_or_folder(study):
    found, workspace = study
    directory = made.settle(workspace, found.runs[3])
    name = run_id(found.runs[3])
    for word in (name, name[:4], str(directory.path)):
        assert find(word, workspace).path.resolve() == directory.path.resolve()
    made.settle(workspace, found.runs[0])
    with pytest.raises(ValueError, match=r"run '': 2 runs begin so, .*; give more letters"):
        find("", workspace)
    with pytest.raises(ValueError, match=r"no run in .* begins so"):
        find("xyz", workspace)


def test_the_command_prints_losses_costs_differing_fields_and_curves(study, capsys):
    found, workspace = study
    first, second = (made.settle(workspace, found.runs[place], loss=loss) for place, loss in ((0, 3.0), (3, 2.5)))
    curve(first, 64, [3.0] * 20)
    curve(second, 64, [2.0] * 30)
    compare([run_id(found.runs[0]), run_id(found.runs[3]), "--root", str(workspace.root)])
    said = capsys.readouterr().out
    for word in ("held-out loss", "3.0000", "2.5000", "-0.5", "wall_seconds", "schedule.kind", "seed", "-1.0000"):
        assert word in said
    with pytest.raises(ValueError, match="give two run ids"):
        compare([run_id(found.runs[0])])
