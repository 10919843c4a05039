from dataclasses import replace
from pathlib import Path

import pytest

from scaling.config import (
    DataConfig,
    Mixture,
    OptimConfig,
    Parametrisation,
    RunConfig,
    TransformerConfig,
    from_dict,
    run_id,
)
from scaling.counts import params, train_flops
from scaling.plan import Dropped
from scaling.sizes import models
from scaling.sweeps import (
    Range,
    arm,
    branches,
    chain,
    decided,
    derive,
    grid,
    isoflop,
    ladder,
    product,
    random,
    round_tokens,
    seeds,
    simplex,
    sobol,
    successive_halving,
    valid,
    where,
    zipped,
)
from scaling.sweeps.nodes import FileError
from scaling.sweeps.steps import STEPS, Trained
from scaling.sweeps.study_file import read

BASE = """\
question = "?"
[base]
tokens = 1e5
batch = 4
model = { dim = 16, layers = 2, heads = 1, context = 64 }
data = { vocab = 300 }
optim = { lr = 6e-3 }
"""


@pytest.fixture
def base():
    return RunConfig(
        model=TransformerConfig(vocab=300, dim=16, layers=2, heads=1, context=64),
        data=DataConfig(vocab=300),
        tokens=round_tokens(1e5, 4 * 64),
        batch=4,
        optim=OptimConfig(lr=6e-3),
    )


@pytest.fixture
def study(tmp_path):
    def of(text, *options):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return read(path, *options)

    return of


def sized(base, dims=(16, 32)):
    return [replace(base.model, dim=dim) for dim in dims]


def run_of(base):
    return lambda model: replace(base, model=model)


IN_PYTHON = {
    'grid = { "optim.lr" = [1e-3, 2e-3], seed = [0, 1] }': lambda b: grid(
        b, {"optim.lr": [1e-3, 2e-3], "seed": [0, 1]}
    ),
    'zipped = { "model.dim" = [32, 48], "model.heads" = [2, 3] }': lambda b: zipped(
        b, {"model.dim": [32, 48], "model.heads": [2, 3]}
    ),
    "seeds = 3": lambda b: seeds(b, 3),
    "seeds = [4, 7]": lambda b: seeds(b, [4, 7]),
    "chain = [[{ seeds = [1] }], [{ seeds = [2] }, { arm = 'b' }]]": lambda b: chain(
        seeds(b, [1]), arm(seeds(b, [2]), "b")
    ),
    'product = [[{ seeds = 2 }], [{ grid = { "optim.lr" = [1e-3, 2e-3] } }]]': lambda b: product(
        seeds(b, 2), grid(b, {"optim.lr": [1e-3, 2e-3]})
    ),
    'where = { field = "seed", at_most = 0 }': lambda b: where(b, lambda run: run.seed <= 0, "seed is not at most 0"),
    "valid = true": valid,
    'derive = { "optim.lr" = { times = 6e-3, of = "model.dim", power = -1, at = 32 } }': lambda b: derive(
        b, "optim.lr", lambda row: 6e-3 * (row["model.dim"] / 32) ** -1
    ),
    'models = { ladder = "tiny", first = 2, count = 3 }': lambda b: zipped(
        b,
        {
            f"model.{name}": [getattr(model, name) for model in models("tiny", 300, 64)[2:5]]
            for name in ("dim", "layers", "heads")
        },
    ),
    "branches = { horizons = [1e5, 2e5] }": lambda b: branches(b, [round_tokens(n, 256) for n in (1e5, 2e5)]),
    'arm = { of = "precision" }': lambda b: arm(b, "precision float32"),
    'random = { count = 3, seed = 1, ranges = { "optim.lr" = { low = 1e-4, high = 1e-2, scale = "log" } } }': (
        lambda b: random(b, {"optim.lr": Range(low=1e-4, high=1e-2, scale="log")}, 3, 1)
    ),
    'sobol = { count = 3, ranges = { "model.layers" = { low = 1, high = 8 } } }': lambda b: sobol(
        b, {"model.layers": Range(low=1, high=8, whole=True)}, 3
    ),
    "successive_halving = { shortest = 1e5, longest = 9e5 }": lambda b: decided(
        successive_halving(b, shortest=1e5, longest=9e5), {}
    ),
}  # fmt: skip
OF_SIZES = {
    "isoflop = { budgets = [1e10], sizes_per_budget = 2 }": lambda b: isoflop(
        run_of(b), sized(b), [1e10], sizes_per_budget=2
    ),
    "ladder = { tokens_per_param = [5, 10] }": lambda b: ladder(run_of(b), sized(b), [5, 10]),
}
OF_PARTS = {"simplex = { points = 5, least = 0.1 }": lambda b: grid(b, {"data.mixture.weights": simplex(2, 5, 0, 0.1)})}


@pytest.mark.parametrize("step", IN_PYTHON)
def test_a_step_in_a_file_is_the_function_of_its_name(study, base, step):
    found, expected = study(f"{BASE}[[sweep]]\n{step}\n"), IN_PYTHON[step](base)
    assert set(found.cells) == set(expected)
    assert found.dropped == (() if step.startswith(("valid", "where")) else expected.dropped)


@pytest.mark.parametrize("step", OF_SIZES)
def test_a_step_over_sizes_takes_the_runs_so_far_as_its_sizes(study, base, step):
    text = f'{BASE}[[sweep]]\ngrid = {{ "model.dim" = [16, 32] }}\n[[sweep]]\n{step}\n'
    assert set(study(text).cells) == set(OF_SIZES[step](base))


@pytest.mark.parametrize("step", OF_PARTS)
def test_a_step_over_mixtures_takes_the_parts_of_the_base(study, base, step):
    parts = [{"name": name, "source": {"kind": "folder", "path": name}} for name in "ab"]
    data = replace(base.data, mixture=from_dict(Mixture, {"parts": parts}, "here"))
    listed = ", ".join(f'{{ name = "{name}", source = {{ kind = "folder", path = "{name}" }} }}' for name in "ab")
    text = BASE.replace("vocab = 300 }", f"vocab = 300, mixture = {{ parts = [{listed}] }} }}")
    assert set(study(f"{text}[[sweep]]\n{step}\n").cells) == set(OF_PARTS[step](replace(base, data=data)))


def test_every_step_is_shown_to_be_its_function():
    shown = {step.partition(" =")[0] for step in (*IN_PYTHON, *OF_SIZES, *OF_PARTS)}
    assert shown == set(STEPS)


def test_a_file_without_steps_is_one_run_named_by_the_file(study, base):
    found = study(BASE)
    assert found.runs == (base,)
    assert found.name == "mine"
    assert found.forecast_flops == pytest.approx(10 * train_flops(base.model, base.tokens).exact, rel=1e-12)


def test_steps_follow_one_another(study):
    text = f"""{BASE}
[[sweep]]
grid = {{ "model.dim" = [16, 32, 48], "optim.lr" = [1e-3, 2e-3] }}
[[sweep]]
derive = {{ "optim.lr" = {{ times = "optim.lr", of = "model.dim", power = -1, at = 32 }} }}
[[sweep]]
derive = {{ "model.heads" = {{ of = "model.dim", at = 16 }} }}
[[sweep]]
derive = {{ tokens = {{ times = 20, of = "params" }}, "schedule.warmup_tokens" = {{ times = 0.1, of = "tokens" }} }}
"""
    found = study(text).runs
    assert [(run.model.dim, run.optim.lr) for run in found] == [
        (16, 2e-3), (16, 4e-3), (32, 1e-3), (32, 2e-3), (48, pytest.approx(2e-3 / 3)), (48, pytest.approx(4e-3 / 3)),
    ]  # fmt: skip
    for run in found:
        assert run.model.heads == run.model.dim // 16
        assert abs(run.tokens - 20 * params(run.model).total) <= run.batch_tokens / 2
        assert abs(run.schedule.warmup_tokens - 0.1 * run.tokens) <= run.batch_tokens / 2


def test_invalid_rows_are_dropped_where_the_file_says_valid_and_refused_where_not(study):
    text = f'{BASE}[[sweep]]\ngrid = {{ "model.heads" = [1, 3] }}\n'
    with pytest.raises(FileError, match=r"mine.toml: row model.heads=3: .*does not divide.*`valid`"):
        study(text)
    (dropped,) = study(f"{text}[[sweep]]\nvalid = true\n").dropped
    assert dropped.row == "model.heads=3"
    assert "does not divide" in dropped.reason


def test_a_condition_may_ask_for_what_a_run_takes(study):
    tokens = "[[sweep]]\ngrid = { tokens = [25600, 256000] }\n"
    found = study(f'{BASE}{tokens}[[sweep]]\nwhere = {{ field = "steps", at_least = 500 }}\n')
    assert [run.steps for run in found.runs] == [1000]
    assert found.dropped == (Dropped(row="tokens=25600", reason="steps is not at least 500"),)


def test_a_whole_part_is_a_value_too(study):
    text = f'{BASE}[[sweep]]\ngrid = {{ "model.parametrisation" = [{{ width = "mup", base_dim = 16 }}] }}\n'
    assert study(text).runs[0].model.parametrisation == Parametrisation(width="mup", base_dim=16)


def test_the_vocabulary_and_its_special_tokens_are_what_the_objective_needs(study):
    text = BASE.replace("context = 64 }", 'context = 66, architecture = "encoder" }').replace(
        "[base]", '[base]\nobjective = { kind = "masked", text = 64 }'
    )
    (run,) = study(text).runs
    assert run.data.specials > 0
    assert run.model.vocab == run.data.total_vocab


def test_a_halving_goes_on_with_the_losses_that_are_known(study, base):
    text = (
        f"{BASE}[[sweep]]\nseeds = 4\n[[sweep]]\nsuccessive_halving = {{ shortest = 1e5, longest = 2e5, factor = 2 }}\n"
    )

    def prepared(data):
        return replace(data, content="c")

    first = study(text, Trained(losses={}, prepared=prepared))
    losses = {run_id(cell.run): float(-cell.run.seed) for cell in first.cells}
    second = study(text, Trained(losses=losses, prepared=prepared))
    assert len(first.cells) == 8
    new = [cell.run for cell in second.cells if cell not in first.cells and cell.role == "cell"]
    assert [run.seed for run in new] == [2, 3]
    assert {run.data.content for run in second.runs} == {"c"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question = ", "not TOML: .*"),
        ('questoin = "?"', r"line 1: questoin: no such name; .*did you mean 'question'\?"),
        ('question = "?"', "line 1: base is missing"),
        ("question = 3\n" + BASE.partition("\n")[2], "line 1: question: Input should be a valid string .found 3."),
        (BASE.replace("layers", "layrs"), r"line 5: base.model.layrs: no such name; did you mean 'layers'\?"),
        (BASE.replace("dim = 16", 'dim = "16"'), "line 5: base.model.dim: Input should be a valid integer .found '16'"),
        (BASE.replace("dim = 16, ", ""), "line 5: base.model: dim is missing"),
        (BASE.replace("heads = 1", "heads = 3"), "line 5: base.model: .*heads=3 does not divide dim=16"),
        (BASE.replace("1e5", '"many"'), "line 3: base.tokens: Input should be a valid number .found 'many'"),
        (BASE.replace("vocab = 300", "vocab = 3"), "line 6: base.data: DataConfig.vocab=3"),
        (BASE.replace("batch = 4", "batch = 0"), "line 2: base: .*"),
        (f"name = 'a/b'\n{BASE}", "a study's name is part of file names"),
        (f"{BASE}[placement]\ntensors = 2", r"line 9: placement.tensors: .*did you mean 'tensor'\?"),
        (f"{BASE}[sweep]\nseeds = 2", r"line 8: sweep: .* is no list; .* \[\[sweep\]\]"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(study, text, said):
    with pytest.raises(FileError, match=rf"mine.toml(, |: ){said}"):
        study(text)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("gird = { seed = [1] }", r"gird: no such name; .*did you mean 'grid'\?"),
        ("grid = { seed = [1] }\nseeds = 2", "is no step; give one of grid"),
        ('grid = { "model.dimm" = [1] }', r"no field 'dimm' in TransformerConfig; did you mean 'dim'\?"),
        ('grid = { "model.moe.experts" = [1] }', "no field 'experts' in None, which has none; give the whole"),
        ('grid = { "model.dim" = [16, 32.5] }', "model.dim 2: Input should be a valid integer .found 32.5"),
        ("grid = { seed = [true] }", "seed 1: Input should be a valid integer .found True"),
        ('grid = { precision = ["bfloat61"] }', r"did you mean 'bfloat16'\?"),
        ("grid = { seed = 1 }", "1 is no list"),
        ("zipped = { batch = [1], seed = [1, 2] }", "zipped axes differ in length"),
        ("derive = { seed = { of = \"__import__('os')\" } }", "no field .*or one of params"),
        ('derive = { "optim.lr" = { times = "1 + 1", of = "batch" } }', "derive.optim.lr.times: .*no field '1 . 1'"),
        ('derive = { "optim.lr" = { of = "precision", times = 2 } }', "a power law needs a number above 0"),
        ('derive = { "optim.lr" = { of = "batch", at = 0 } }', "0 is not above 0"),
        ('where = { field = "seed" }', "give at_least, at_most or one_of"),
        ('where = { field = "precision", at_least = 1 }', "precision is no number; give one_of"),
        ('where = { field = "flop", at_least = 1 }', "no field 'flop' .*or one of params, tokens_per_param, flops"),
        ('models = { ladder = "tiny", count = 99 }', "the tiny ladder has 11 sizes"),
        ("isoflop = { budgets = [1e3], sizes_per_budget = 1 }", r"budget 1e\+03 FLOPs: 0 of 1 sizes"),
        (
            "chain = [[{ seeds = 2 }, { ladder = { tokens_per_param = [5] } }]]",
            "two runs before it have the same model",
        ),
        ('random = { count = 2, ranges = { "optim.lr" = { low = 2, high = 1 } } }', "low below high"),
        ("sobol = { ranges = { seed = { low = 0, high = 9 } } }", "sobol: count is missing"),
        ("simplex = { points = 3 }", "base.data has no mixture; give it one"),
        ("successive_halving = { shortest = 2, longest = 1 }", "give 0 < shortest <= longest"),
    ],
)
def test_what_is_wrong_in_a_step_is_told_with_its_line(study, step, said):
    with pytest.raises(FileError, match=rf"mine.toml, line [89]: sweep 1.*{said}"):
        study(f"{BASE}[[sweep]]\n{step}\n")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match=r"none\.toml: no such file"):
        read(tmp_path / "none.toml")


def test_the_example_plans_every_width_at_every_rate_but_those_too_high():
    found = read(Path(__file__).parents[2] / "experiments" / "lr_and_width.toml")
    assert len(found.cells) + 2 * len(found.dropped) == 4 * 6 * 2
    assert all(run.optim.lr <= 5e-2 for run in found.runs)
    assert {run.seed for run in found.runs} == {0, 1}
