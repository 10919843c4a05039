import numpy as np
import pyarrow as pa
import pytest

from analysis.tables.table import canonical
from analysis.tables.units import check_duplicates, check_units, mixed_counting

SIZES = np.geomspace(1e6, 1e9, 8)


def runs(**changed):
    """Eight sizes at 20 tokens a parameter, and what differs."""
    columns = {"params": SIZES, "tokens": 20 * SIZES, "flops": 120 * SIZES**2, "loss": 2 + SIZES**-0.1}
    return canonical({**columns, **changed}, "runs")


def two_files(first, second, sizes=(SIZES, SIZES), **columns):
    """Two tables one below the other, with C = 6 N D times a factor in each."""
    params = np.concatenate(sizes)
    factor = np.repeat([first, second], [len(sizes[0]), len(sizes[1])])
    rule = 6 * params * 20 * params
    loss = 2 + params**-0.1 * np.linspace(1, 1.01, len(params))
    return canonical({"params": params, "tokens": 20 * params, "flops": rule * factor, "loss": loss, **columns}, "two")


def names(doubts):
    return [doubt.name for doubt in doubts]


def at(values, **changed):
    """The values with some replaced: at(values, _2=0.5) sets the third."""
    values = values.copy()
    for place, value in changed.items():
        values[int(place[1:])] = value
    return values


def test_sound_runs_raise_no_doubt():
    assert check_units(runs()) == []
    assert check_units(runs().slice(0, 0)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"loss": at(2 + SIZES**-0.1, _1=0.0, _4=-1.5)},
            r"loss is not positive in 2 of 8 runs \(row 2: 0, row 5: -1.5\)",
        ),
        ({"params": at(SIZES, _0=0.07)}, r"params is below 1 in 1 of 8 runs \(row 1: 0.07\); give the count"),
        ({"tokens": at(20 * SIZES, _0=0.3)}, r"tokens is below 1 in 1 of 8 runs \(row 1: 0.3\); give the count"),
        ({"tokens": at(20 * SIZES, _7=1e5)}, r"tokens is below params \* 0.001 in 1 of 8 runs \(row 8: 1e\+05\)"),
        ({"flops": at(120 * SIZES**2, _2=0.0)}, r"flops is not positive in 1 of 8 runs \(row 3: 0\)"),
        ({"flops": at(120 * SIZES**2, _2=1e9)}, r"not within a factor 3 of 6 params tokens in 1 of 8 runs .*row 3"),
    ],
)
def test_numbers_that_no_run_can_have_are_refused_with_their_rows(changed, message):
    with pytest.raises(ValueError, match=message):
        check_units(runs(**changed))


def test_at_most_five_rows_are_named():
    with pytest.raises(ValueError, match=r"8 of 8 runs \(row 1: -1, .*row 5: -1 and 3 more\)"):
        check_units(runs(loss=-np.ones(8)))


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (20 * SIZES, "FLOPs per token"),
        (8.64e19, "PF-days"),
        (1e18, "EFLOPs"),
        (1e21, "ZFLOPs"),
        (50.0, "per token, in"),
    ],
)
def test_the_unit_of_flops_that_are_far_from_six_n_d_is_guessed(scale, said):
    with pytest.raises(ValueError, match=said) as caught:
        check_units(runs(flops=120 * SIZES**2 / scale))
    assert "--trust-flops" in str(caught.value) and "trust_flops=True" in str(caught.value)


@pytest.mark.parametrize("factor", [1 / 3, 3.0])
def test_a_factor_of_three_is_still_near(factor):
    assert check_units(runs(flops=120 * SIZES**2 * factor)) == []


def test_flops_that_are_trusted_are_a_doubt():
    flops = at(120 * SIZES**2, _0=120 * SIZES[0] ** 2 * 4)
    (doubt,) = check_units(runs(flops=flops), trust_flops=True)
    assert doubt.name == "flops_far" and "row 1: 4" in str(doubt) and "as they are" in doubt.text
    assert names(check_units(runs(flops=flops, flops_exact=flops))) == ["flops_far"]


def test_flops_of_the_active_parameters_are_near_enough():
    sparse = runs(params=SIZES * 8, params_active=SIZES)
    assert check_units(sparse) == []
    with pytest.raises(ValueError, match="not within a factor 3"):
        check_units(runs(params=SIZES * 8, params_head=SIZES))


def test_flops_that_were_filled_in_are_not_checked():
    table = canonical({"params": SIZES, "tokens": 20 * SIZES, "loss": SIZES**-0.1}, "runs")
    assert check_units(table) == []


def test_small_models_whose_attention_costs_half_again_raise_no_doubt(synthetic):
    assert check_units(synthetic.study()) == []


def test_a_row_given_twice_is_refused_and_named():
    table = pa.concat_tables([runs(), runs().slice(2, 1)])
    with pytest.raises(ValueError, match="row 3, row 3 are one run twice"):
        check_duplicates(table)
    check_duplicates(runs())
    check_duplicates(runs().slice(0, 0))


@pytest.mark.parametrize("column", [{"seed": [0, 1]}, {"optimizer": ["adamw", "muon"]}, {"lr": [0.1, 0.2]}])
def test_runs_that_differ_in_a_seed_or_a_setting_are_two(column):
    twice = {name: values * 2 for name, values in runs().select(["params", "tokens", "loss"]).to_pydict().items()}
    name, values = next(iter(column.items()))
    check_duplicates(canonical({**twice, name: np.repeat(values, 8)}, "runs"))
    with pytest.raises(ValueError, match="row 1, row 9 are one run twice"):
        check_duplicates(canonical({**twice, name: np.tile(np.repeat(values, 4), 2)}, "runs"))


def test_a_name_of_its_own_does_not_make_a_run_another_one():
    twice = {name: values * 2 for name, values in runs().select(["params", "tokens", "loss"]).to_pydict().items()}
    with pytest.raises(ValueError, match="a0, a8 are one run twice"):
        check_duplicates(canonical({**twice, "run_id": [f"a{i}" for i in range(16)], "n": range(16)}, "runs"))


def test_two_files_with_other_countings_are_told_apart_by_their_column():
    (doubt,) = mixed_counting(two_files(1.0, 1.3, source=["a"] * 8 + ["b"] * 8))
    assert doubt.name == "mixed_counting" and "differ in source" in doubt.text
    assert "1 in 8 runs, 1.3 in 8 runs" in doubt.text


def test_two_countings_show_without_a_column_that_names_them():
    (doubt,) = mixed_counting(two_files(1.0, 1.3))
    assert "differ in source" not in doubt.text
    assert names(mixed_counting(two_files(1 / 3, 1.0, sizes=(SIZES[:4], SIZES[4:])))) == ["mixed_counting"]


@pytest.mark.parametrize(
    "table",
    [
        two_files(1.0, 1.3, sizes=(SIZES[:4], SIZES[4:])),  # a share of attention that falls with size looks like this
        two_files(1.0, 1.03),
        runs(flops=120 * SIZES**2 * (1 + 10 / SIZES**0.2)),
    ],
)
def test_flops_that_one_way_of_counting_explains_raise_no_doubt(table):
    assert mixed_counting(table) == []


def test_exact_flops_of_our_records_are_one_way_of_counting():
    table = two_files(1.0, 1.3)
    assert mixed_counting(table.append_column("flops_exact", table["flops"])) == []


def test_params_that_follow_two_conventions_are_doubted():
    body, total = SIZES * 0.7, SIZES
    mixed = np.where(np.arange(8) < 3, body, total)
    (doubt,) = mixed_counting(runs(params=mixed, params_body=body, params_total=total))
    assert doubt.name == "mixed_counting" and "params_body in 3 of 8 runs, params_total in 5 of 8" in doubt.text
    (doubt,) = mixed_counting(runs(params=1.1 * SIZES, params_total=total, params_body=body))
    assert "params differs from params_total" in doubt.text


def test_params_that_follow_one_convention_raise_no_doubt():
    assert mixed_counting(runs(params_total=SIZES, params_body=0.7 * SIZES)) == []
    assert mixed_counting(runs(params_no_embed=0.7 * SIZES)) == []


def test_a_column_that_names_several_countings_is_doubted():
    (doubt,) = mixed_counting(runs(counting=["kaplan"] * 4 + ["standard"] * 4))
    assert "2 values (kaplan, standard)" in doubt.text
    assert mixed_counting(runs(counting=["kaplan"] * 8)) == []


def test_points_on_the_way_of_a_run_are_doubted():
    (doubt,) = check_units(runs(run=["a"] * 4 + ["b"] * 4, step=list(range(4)) * 2))
    assert doubt.name == "mid_decay" and "8 rows of 2 runs" in doubt.text
    assert check_units(runs(run=list("abcdefgh"), step=[1] * 8)) == []


def test_the_published_runs_raise_the_doubts_that_their_notes_name(published):
    assert names(check_units(published("epoch_chinchilla"))) == []
    assert names(check_units(published("llama3_isoflop"))) == []
    assert names(check_units(published("gemstones"))) == ["mid_decay"]  # checkpoints of 43 runs
    assert names(check_units(published("porian_isoflop"))) == ["mixed_counting"]  # three conventions in one file
    for name in ("epoch_chinchilla", "llama3_isoflop", "gemstones", "porian_isoflop"):
        check_duplicates(published(name))
