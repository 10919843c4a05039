"""fit and report of a study that compares arms."""

import json
from dataclasses import replace

import pytest

from launch import analysis_commands as commands
from launch.analysing import FitOptions, analyse_source
from launch.analysis_commands import write_report_of
from scaling.config import NgramConfig, RecurrentConfig, Source, run_id
from scaling.counts import params, train_flops
from scaling.plan import Cell, Study, manifest
from scaling.provenance import provenance
from scaling.record import Cost, Heldout, RunDirectory, RunRecord, Tokens, write_config, write_record
from tests.launch.tiny import run_of

EXPONENTS = {"transformer": -0.12, "LSTM": -0.08}
NAME = "lstm"  # the command line knows it; what was launched under it is this file's


def record(folder, run, loss):
    """What a finished run leaves behind."""
    directory = RunDirectory(folder / run_id(run))
    write_config(directory, run)
    write_record(
        directory,
        RunRecord(
            run_id=run_id(run), status="finished", config=run, cluster=run.cluster, train_loss=loss,
            heldout=Heldout(
                loss=loss, loss_se=0.01, bits_per_byte=loss / 2, bits_per_byte_se=0.01, sequences=4, tokens=64,
                by_position={1: loss + 1, 16: loss},
            ),
            params=params(run.model), flops=train_flops(run.model, run.tokens),
            tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=1.0),
            cost=Cost(
                wall_seconds=1.0, device_seconds=1.0, started_from_tokens=0, flops_computed=0.0, attempts=1, mfu=None,
                energy_kwh=None,
            ),
            provenance=provenance("cpu", 1),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The records of four decoders, four LSTMs and a trigram model, as if they had been launched."""
    root = tmp_path_factory.mktemp("root")
    base = run_of(Source())
    models = {
        "transformer": [replace(base.model, dim=dim) for dim in (8, 16, 24, 32)],
        "LSTM": [RecurrentConfig(vocab=257, dim=dim, layers=1, context=16) for dim in (8, 16, 24, 32)],
        "trigram": [NgramConfig(vocab=257, order=3, context=16)],
    }
    cells = []
    for arm, sizes in models.items():
        for model in sizes:
            run = replace(base, model=model)
            record(root / "runs", run, 8 * params(model).total ** EXPONENTS[arm] if arm in EXPONENTS else 4.0)
            cells.append(Cell(run=run, arm=arm))
    study = Study(
        name=NAME, question="?", published="p", shows="s", cannot_show="c", forecast_flops=1e9, cells=tuple(cells)
    )
    (root / "studies").mkdir()
    (root / "studies" / f"{NAME}.json").write_text(json.dumps(manifest(study)))
    return root


def shown(capsys, root, *arguments):
    commands.fit([NAME, "--root", str(root), *arguments])
    return capsys.readouterr().out


def test_fit_prints_the_arms_beside_each_other(capsys, root):
    said = shown(capsys, root)
    assert said.startswith("2 arms, 9 runs")
    assert "transformer  loss ~ N^-0.120" in said and "LSTM         loss ~ N^-0.080" in said
    assert "  trigram " in said and "0 FLOPs: lowest loss 4.0000" in said


def test_fit_prints_a_comparison_as_json(capsys, root):
    told = json.loads(shown(capsys, root, "--json"))
    exponents = {arm["name"]: arm["line"]["exponent"]["value"] for arm in told["arms"]}
    # The losses are exact powers; the solver stops at a gradient of about 1e-8.
    assert exponents == pytest.approx(EXPONENTS, rel=1e-5)
    assert told["arms"][1]["runs"][0]["loss_by_position"]["16"] == told["arms"][1]["runs"][0]["loss"]


def test_a_launched_comparison_is_reported_as_one(capsys, root, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "analysis.report.comparison_report.figure_blocks", lambda shown, folder: {item.name: item.alt for item in shown}
    )
    write_report_of(NAME, FitOptions(root=root), tmp_path / "out")
    assert "report: " in capsys.readouterr().out
    assert "<title>lstm: arms compared</title>" in (tmp_path / "out" / "report.html").read_text()


def test_one_law_over_all_arms_is_refused(root):
    with pytest.raises(ValueError, match=r"compares arms \(transformer, LSTM, trigram\).*table.csv --where arm=NAME"):
        analyse_source(NAME, FitOptions(root=root))
    with pytest.raises(
        ValueError, match=r"--law kernel: study 'lstm' compares arms.*scaling arms .*table.csv --by arm"
    ):
        commands.fit([NAME, "--root", str(root), "--law", "kernel"])


def test_a_study_that_was_not_launched_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"study 'lstm' has not been launched in .*: scaling launch lstm"):
        commands.fit([NAME, "--root", str(tmp_path)])
