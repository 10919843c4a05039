import numpy as np
import pytest
from made_arms import LAWS, PLACES, SIZES, Runs, budgets, clouds, rates, sizes

from analysis.comparison import compare_arms, positions
from analysis.tables.table import column


@pytest.fixture(scope="module")
def by_size():
    return compare_arms(*sizes(), draws=200)


@pytest.fixture(scope="module")
def by_budget():
    return compare_arms(*budgets(), draws=100)


def test_families_are_compared_by_size_each_with_its_exponent(by_size):
    assert by_size.x == "params" and [arm.name for arm in by_size.arms] == list(LAWS)
    for arm in by_size.arms:
        truth = LAWS[arm.name][1]
        assert arm.line.exponent.low < truth < arm.line.exponent.high


def test_unequal_exponents_are_told_apart(by_size):
    (same,) = by_size.same
    assert same.arms == tuple(LAWS) and same.result.p < 0.01


def test_what_an_arm_needs_for_a_loss_is_that_of_the_laws(by_size):
    (worth,) = by_size.worth
    (a, b), (c, d) = LAWS["transformer"], LAWS["LSTM"]
    loss = c * SIZES[-1] ** d  # the LSTM's line ends higher
    truth = (loss / c) ** (1 / d) / (loss / a) ** (1 / b)
    assert worth.inside and worth.loss == pytest.approx(loss, rel=0.01)  # noise of 0.2% a run
    assert worth.factor.low < truth < worth.factor.high


def test_what_took_no_training_flops_is_a_baseline_and_no_arm(by_size):
    assert by_size.baselines["arm"].to_pylist() == ["5-gram"]
    assert "5-gram" not in {arm.arm for arm in by_size.arms}
    assert not by_size.selection.left_out


def test_the_noise_of_the_seeds_is_that_of_all_arms(by_size):
    assert by_size.seeds.cells == 2 and by_size.seeds.freedom == 2


def test_losses_by_position_are_read_from_their_columns(by_size):
    arm = by_size.arms[0]
    found = positions(arm.table, 0)
    assert tuple(found) == PLACES
    assert found[1] == pytest.approx(1.5 * LAWS["transformer"][0] * SIZES[0] ** LAWS["transformer"][1])


def test_objectives_are_compared_apart_but_best_sizes_across_them(by_budget):
    assert by_budget.objectives == ("next_token", "masked") and by_budget.worth == ()
    (same,) = by_budget.same
    assert same.of == "best size against FLOPs" and same.result.p < 0.05
    assert "several_objectives" in {doubt.name for doubt in by_budget.warnings}


def test_one_arm_by_two_objectives_is_two_with_names_of_their_own():
    runs = Runs()
    for goal in ("masked", "prefix"):
        runs.add("encoder", params=1e4, tokens=1e6, flops=6e10, loss=3.0 if goal == "masked" else 3.1, objective=goal)
    runs.add("decoder", params=1e4, tokens=1e6, flops=6e10, loss=3.2, objective="prefix")
    found = compare_arms(*runs.study(), draws=20)
    assert [(arm.name, arm.arm) for arm in found.arms] == [
        ("encoder, masked", "encoder"), ("encoder, prefix", "encoder"), ("decoder", "decoder"),
    ]  # fmt: skip
    assert found.table["arm"].to_pylist() == ["encoder, masked", "encoder, prefix", "decoder"]


def test_of_runs_that_differ_in_their_rate_alone_the_best_are_fitted():
    found = compare_arms(*rates(), draws=20)
    mup = found.arms[1]
    assert column(mup.best, "lr").tolist() == [2.0**-8] * 4
    assert mup.line.exponent.value == pytest.approx(-0.05, abs=1e-6)  # loss falls as width^-0.1, size grows as width^2
    edges = [doubt.text for doubt in found.warnings if doubt.name == "lr_at_edge"]
    assert edges == ["standard: the best learning rate is the lowest tried at width 128; try further"]


def test_without_repeated_runs_the_chance_between_arms_is_not_known(by_budget):
    assert by_budget.seeds is None and "no_seeds" in {doubt.name for doubt in by_budget.warnings}


def test_runs_that_the_study_names_no_arm_for_stand_together_last():
    runs = Runs()
    runs.add("", params=1e4, tokens=1e6, flops=6e10, loss=3.0)
    runs.add("a", params=1e4, tokens=2e6, flops=12e10, loss=2.9)
    assert [arm.name for arm in compare_arms(*runs.study(), draws=20).arms] == ["a", "no arm"]


def test_arms_come_in_the_order_of_the_study_whatever_the_order_of_the_records():
    table, manifest = sizes()
    found = compare_arms(table.take(list(range(table.num_rows))[::-1]), manifest, draws=20)
    assert [arm.name for arm in found.arms] == ["transformer", "LSTM"]


def test_an_arm_that_does_not_improve_is_priced_at_nothing_and_said():
    runs = Runs()
    for arm, exponent in (("a", -0.1), ("b", 0.05)):
        for size in SIZES:
            runs.add(arm, params=size, tokens=1e6, flops=6e6 * size, loss=5 * size**exponent)
    found = compare_arms(*runs.study(), draws=20)
    assert found.worth == ()
    assert [(item.part, item.reason) for item in found.not_done] == [("b: worth", "its loss does not fall")]


def test_a_study_without_a_usable_run_compares_nothing_and_lists_what_is_missing():
    table, manifest = sizes()
    other = Runs()
    other.add("a", params=1e4, tokens=1e6, flops=6e10, loss=3.0)
    found = compare_arms(other.study()[0], manifest, draws=20)
    assert found.arms == () and found.worth == () and len(found.selection.left_out) == table.num_rows


def test_the_same_seed_gives_the_same_intervals(by_budget):
    again = compare_arms(*budgets(), draws=100)
    np.testing.assert_array_equal(again.arms[0].line.draws, by_budget.arms[0].line.draws)


def test_arms_that_read_other_tokens_are_compared_in_bits_per_byte():
    runs = Runs()
    for vocab, bytes_per_token in ((257, 1.0), (4096, 3.0)):
        for flops in (1e10, 3e10, 1e11, 3e11):
            bits = 2.0 * (flops / 1e10) ** -0.1 * (1.1 if vocab == 257 else 1.0)
            nats = bits * np.log(2) * bytes_per_token
            runs.add(f"{vocab}", params=1e4, tokens=flops / 6e4, flops=flops, loss=nats, bits=bits / nats, vocab=vocab)
    found = compare_arms(*runs.study(), draws=20)
    assert found.unit == "bits per byte"
    (worth,) = found.worth  # a tenth less loss is as 1.1 ** 10 of the compute
    assert worth.factor.value == pytest.approx(1.1**-10, rel=0.05)
    assert column(found.arms[0].table, "loss_se")[0] == pytest.approx(0.01 / np.log(2))


def test_other_tokens_without_bits_per_byte_are_told():
    runs = Runs()
    for vocab in (257, 4096):
        for flops in (1e10, 3e10, 1e11, 3e11):
            runs.add(f"{vocab}", params=1e4, tokens=flops / 6e4, flops=flops, loss=3.0, bits=None, vocab=vocab)
    found = compare_arms(*runs.study(), draws=20)
    assert found.unit == "nats per token"
    assert any(doubt.name == "other_tokens" and "do not compare" in doubt.text for doubt in found.warnings)


def test_what_all_arms_lack_for_one_reason_is_said_once():
    (missing,) = compare_arms(*clouds(), draws=20).not_done
    assert missing.part == "a; b: line" and "too few sizes at any one budget" in missing.reason
