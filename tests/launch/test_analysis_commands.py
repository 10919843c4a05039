"""fit, report, laws and published, on tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch import analysis_commands as commands
from tests.launch.tables import runs, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "runs.csv", runs())


def shown(capsys, call, *arguments):
    call([str(argument) for argument in arguments])
    return capsys.readouterr().out


def scaling(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip


def test_fit_prints_json_at_full_precision(capsys, table):
    found = json.loads(shown(capsys, commands.fit, table, "--json"))
    assert len(repr(found["surface"]["params"]["alpha"])) > 12


def test_columns_are_mapped_rows_chosen_and_the_law_printed(capsys, tmp_path):
    columns = runs()
    both = {name: np.concatenate([values, values]) for name, values in columns.items()}
    path = write(
        tmp_path / "two.csv",
        {
            "size": both["params"],
            "tokens": both["tokens"],
            "loss": both["loss"],
            "corpus": ["web"] * 25 + ["code"] * 25,
        },
    )
    said = shown(capsys, commands.fit, path, "--column", "params=size", "--where", "corpus=web")
    assert "25 runs fitted" in said
    assert "L = E + A / N^alpha + B / D^beta" in said and "alpha" in said


def test_another_law_is_fitted_by_name(capsys, tmp_path):
    flops = np.geomspace(1e18, 1e22, 12)
    path = write(tmp_path / "curve.csv", {"flops": flops, "loss": (1e27 / flops) ** 0.05})
    said = shown(capsys, commands.fit, path, "--law", "kaplan_compute")
    assert "alpha_C" in said and "0.05" in said


def test_the_catalogue_lists_laws_with_their_columns(capsys):
    said = shown(capsys, commands.laws)
    assert "chinchilla" in said and "columns: params, tokens, loss" in said
    assert "arXiv:2203.15556" in shown(capsys, commands.laws, "chinchilla")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"parms": [1e6], "tokens": [1e8], "loss": [3.0]}, (), "did you mean parms?"),
        ({"params": [1e6, 2e6], "tokens": [1e8, 2e8], "loss": [3.0, -1.0]}, (), "loss is not positive in 1 of 2 runs"),
        ({"params": [1e9], "tokens": [5e5], "loss": [3.0]}, (), "tokens is below params * 0.001"),
        (
            {"params": [1e6], "tokens": [1e8], "flops": [1e9], "loss": [3.0]},
            (),
            "not within a factor 3 of 6 params tokens",
        ),
        ({"params": [1e6, 2e6], "tokens": [1e8, "nan"], "loss": [3.0, 2.9]}, (), "row 2"),
        ({"params": [], "tokens": [], "loss": []}, (), "has a header but no rows"),
        ({"params": [1e6] * 2, "tokens": [1e8] * 2, "loss": [3.0] * 2}, (), "row 1"),
        ({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, ("--law", "chinchila"), "did you mean chinchilla?"),
        ({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, ("--where", "corpus=web"), "no column 'corpus'"),
        ({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, ("--where", "loss=2"), "loss holds 3"),
        ({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, ("--column", "size"), "write NAME=VALUE"),
        ({"params": [1e6, 2e6], "loss": [3.0, 2.9]}, ("--law", "kaplan_size"), "2 usable runs for 2 parameters"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(tmp_path, columns, options, message):
    path = write(tmp_path / "bad.csv", columns)
    with pytest.raises(ValueError) as caught:
        commands.report([str(path), "--out", str(tmp_path / "report"), *options])
    assert message in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_bad_input_ends_with_code_2_and_writes_nothing(tmp_path):
    write(tmp_path / "bad.csv", {"params": [1e6], "tokens": [1e8], "loss": [0.0]})
    done = scaling("report", "bad.csv", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "loss is not positive" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        commands.fit([str(tmp_path / "none.csv")])


def test_a_cell_is_never_evaluated(tmp_path):
    path = write(tmp_path / "evil.csv", {"params": ["__import__('os').getpid()"], "tokens": [1e8], "loss": [3.0]})
    with pytest.raises(ValueError, match="is no number"):
        commands.fit([str(path)])


def test_the_folder_of_published_data_must_be_there():
    with pytest.raises(ValueError, match="no such folder"):
        commands.published(["--folder", "no/such/folder"])
