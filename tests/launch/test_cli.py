"""The command line as a user meets it, in real processes where that matters."""

import errno
import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import cli, data_command, state_commands, studies
from launch.analysing import FitOptions
from launch.analysis_commands import fit, report
from launch.cli import COMMANDS
from launch.decision_commands import optimum
from launch.launch_command import LaunchOptions, launch
from launch.plan_command import PlanOptions, plan
from launch.state_commands import StatusOptions
from launch.train_command import TrainOptions, train

ROOT = Path(__file__).parents[2]


def in_a_process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def scaling(capsys, monkeypatch):
    """The same in this process, which has imported all that is needed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it keeps its own handler,
    monkeypatch.setenv("SCALING_COMMAND", "")  # and its environment

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["scaling", *arguments])
        code = None
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        if isinstance(code, str):  # what an interpreter does with it
            print(code, file=sys.stderr)
        return subprocess.CompletedProcess(arguments, 1 if isinstance(code, str) else code or 0, *capsys.readouterr())

    return call


def shown_by(capsys, call, *arguments):
    """What a command prints; --help ends with SystemExit 0."""
    with pytest.raises(SystemExit) as ended:
        call(list(arguments))
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_study():
    shown = in_a_process("--help").stdout
    for word in (
        "plan",
        "launch",
        "status",
        "train",
        "data prepare",
        "models",
        "convert",
        "coord-check",
        "check-parallel",
        *studies.names(),
    ):
        assert word in shown


@pytest.mark.parametrize("command", [plan, launch, state_commands.status, fit, report, optimum])
@pytest.mark.parametrize("study", ["demo", "chinchilla", "kaplan"])
def test_every_command_of_every_study_answers_help(capsys, command, study):
    shown = shown_by(capsys, command, study, "--help")
    assert "--root" in shown and "--lr" in shown


def test_train_and_data_answer_help(capsys):
    assert "--model.dim" in shown_by(capsys, train, "--help")
    assert "--tokenizer" in shown_by(capsys, data_command.data, "prepare", "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pla",), "no command 'pla'; there are: plan, launch"),
        (("plan", "demos"), "no study 'demos'; there are: architectures, chinchilla, data_constrained, demo, "),
        (("plan",), "which study? one of: architectures, chinchilla, data_constrained, demo, "),
        (("plan", "demo", "--budgets", "1000"), "budget 1e+03 FLOPs: 0 of 11 sizes get at least 20 steps"),
        (("plan", "demo", "--budgets"), "plans no runs"),
        (("plan", "kaplan", "--tokens"), "branches: no horizons"),
        (("plan", "demo", "--vocab", "5"), "DataConfig.vocab=5"),
        (("fit", "demo", "--root", "no/such/place"), "study 'demo' has not been launched in"),
        (("status", "demo", "--root", "no/such/place"), "study 'demo' has not been launched in"),
        (("data", "show", "--root", "no/such/place"), "these data are not prepared yet"),
        (("data", "cook"), "no action 'cook'"),
        (("train", "--model.heads", "5"), "heads=5 does not divide dim=64"),
        (("plan", "demo", "--devices", "2", "--placement.tensor", "3"), "tensor=3 = 3, but there are 2 devices"),
        (("launch", "demo", "--placement.pipe", "7", "--root", "no/such/place"), "pipe=7 does not divide"),
        (("launch", "demo", "--workers", "1000", "--root", "no/such/place"), "--workers 1000: this machine has"),
    ],
)
def test_a_mistake_gets_one_clear_sentence_and_no_traceback(scaling, arguments, message):
    done = scaling(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (ROOT / "no").exists()


def test_a_process_of_its_own_says_the_same_and_ends_with_a_code(scaling):
    wrong = ("plan", "demo", "--budgets", "1000")
    done, here = in_a_process(*wrong), scaling(*wrong)
    assert done.returncode == here.returncode == 2
    assert done.stderr == here.stderr and "Traceback" not in done.stderr


def test_a_misspelt_option_is_answered_with_the_right_one(scaling):
    done = scaling("plan", "demo", "--budget", "1e10")
    assert done.returncode != 0
    assert "--budgets" in done.stdout + done.stderr


def test_a_plan_for_a_gpu_ladder_names_models_up_to_billions_and_its_price(scaling):
    budgets = ("--budgets", "1e18", "1e19", "1e20", "1e21")
    shape = ("--sizes", "large", "--context", "2048", "--batch", "128", "--vocab", "32000", "--precision", "bfloat16")
    done = scaling("plan", "chinchilla", *budgets, *shape, "--hardware", "h100-sxm", "--microbatches", "32", "--json")
    plan = json.loads(done.stdout)
    cells = [run for run in plan["runs"] if run["role"] == "cell" and run["budget"] == 1e21]
    assert len(cells) == 5
    # The compute-optimal size at 1e21 by Chinchilla's rule of 20 tokens a parameter is about 2.9e9.
    sizes = sorted(run["params"]["total"] for run in cells)
    assert sizes[0] < 2.9e9 < sizes[-1]
    # 5.3e21 FLOPs at half of 989 TFLOP/s: about 3,000 hours.
    assert plan["total"]["flops"] == pytest.approx(5.3e21, rel=0.02)
    assert 2800 < plan["total"]["hours"] < 4500
    assert plan["total"]["dollars"] == pytest.approx(3 * plan["total"]["hours"])


def test_a_printed_plan_shows_models_totals_and_assumptions(scaling):
    shown = scaling("plan", "demo").stdout
    assert "kg CO2" in shown and "total: 30 runs" in shown and "assumed:" in shown


LARGE = ("--sizes", "large", "--budgets", "1e20", "--context", "2048", "--batch", "128", "--vocab", "32000")
MESH = ("--precision", "bfloat16", "--hardware", "h100-sxm", "--devices", "8")


def test_a_plan_on_many_devices_says_what_is_sent_over_each_axis_and_what_bounds_a_step(scaling):
    mesh = ("--placement.fsdp", "4", "--placement.pipe", "2", "--microbatches", "8")
    plan = json.loads(scaling("plan", "chinchilla", *LARGE, *MESH, *mesh, "--json").stdout)
    for run in plan["runs"]:
        found = run["prediction"]
        assert found["axis_bytes"].keys() == {"fsdp", "pipe"}
        assert found["bubble"] == pytest.approx(1 / 9)
        assert found["bound_by"] in {"math", "memory", "fsdp", "pipe"}
    shown = scaling("plan", "chinchilla", *LARGE, *MESH, *mesh).stdout
    assert "bound by" in shown and "bubble" in shown and "11%" in shown


def test_the_fastest_placements_that_fit_are_proposed_as_options_that_a_plan_takes(scaling):
    found = json.loads(scaling("plan", "chinchilla", *LARGE, *MESH, "--fit-mesh", "--json").stdout)
    (model,) = found["models"]  # the largest
    best = model["fits"][0]
    plan = json.loads(scaling("plan", "chinchilla", *LARGE, *MESH, *best["options"].split(), "--json").stdout)
    largest = max(plan["runs"], key=lambda run: run["params"]["total"])
    assert largest["params"]["total"] == model["params"]
    assert largest["prediction"]["step_seconds_high"] == pytest.approx(best["step_seconds_high"])
    assert largest["prediction"]["memory_bytes"] == best["memory_bytes"] <= 80e9


def test_where_no_placement_fits_the_plan_says_by_how_much(scaling):
    said = scaling("plan", "chinchilla", *LARGE, "--hardware", "cpu-core", "--fit-mesh").stdout
    assert "nothing fits into the 4 GB of a cpu-core; the nearest needs" in said and "% more" in said


def test_prices_are_options(scaling):
    plain, dear = (
        json.loads(scaling("plan", "demo", "--json", *more).stdout)["total"]
        for more in ((), ("--dollars-per-hour", "10", "--kg-co2-per-kwh", "0.048"))
    )
    assert dear["dollars"] == pytest.approx(200 * plain["dollars"])  # 0.05 an hour by default
    assert dear["kg_co2"] == pytest.approx(plain["kg_co2"] / 10)


def test_a_study_with_other_parameters_has_another_name():
    _, default = studies.parse("demo", PlanOptions, [], "scaling plan")
    _, other = studies.parse("demo", PlanOptions, ["--seed", "1"], "scaling plan")
    _, again = studies.parse("demo", LaunchOptions, ["--seed", "1", "--workers", "1"], "scaling launch")
    assert default.name == "demo"
    assert other.name != "demo" and other.name.startswith("demo-")
    assert again.name == other.name  # options of the command are none of the study's


def test_options_of_commands_never_collide_with_those_of_studies():
    for name in studies.names():
        of_study = set(studies.find(name).__kwdefaults__)
        for options in (PlanOptions, LaunchOptions, StatusOptions, FitOptions):
            assert not of_study & set(options.__dataclass_fields__), (name, options)


def test_one_run_is_planned_from_options_with_the_tokenizers_vocabulary():
    study = TrainOptions(tokens=1e5, batch=8).study()
    assert study.runs[0].model.vocab == study.runs[0].data.vocab
    assert study.runs[0].tokens % (8 * 128) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_function(command):
    module, _, function = COMMANDS[command].partition(".")
    assert callable(getattr(importlib.import_module(f"launch.{module}"), function))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device: free some space (df -h shows where)",
        ),
        (ValueError("RESOURCE_EXHAUSTED: No space left on device"), "device: free some space (df -h shows where)"),
        (OSError(errno.EROFS, "Read-only file system", "/lab/x"), "'/lab/x': make it writable for this user"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/lab/x"), "No such file: '/lab/x'\n"),
    ],
)
def test_what_the_system_says_of_a_disk_comes_with_what_to_do(monkeypatch, capsys, error, said):
    def fail(arguments):
        raise error

    monkeypatch.setattr(state_commands, "status", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handler,
    monkeypatch.setenv("SCALING_COMMAND", "")  # and its environment
    monkeypatch.setattr(sys, "argv", ["scaling", "status"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert said in capsys.readouterr().err
