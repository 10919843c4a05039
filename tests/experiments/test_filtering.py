import pytest

from experiments.filtering import study
from scaling.config.cleaning_quality import QualityClassifier
from tests.experiments.prices import check


@pytest.fixture(scope="module")
def planned():
    return study()


def by_arm(planned):
    found = {}
    for cell in planned.cells:
        found.setdefault(cell.arm, []).append(cell)
    return found


def test_the_study_keeps_to_what_every_study_must(planned):
    check(planned, "filtering")


def test_all_cuts_are_judged_on_the_same_text_which_no_filter_has_learned_from(planned):
    ((judged, tokenizer, sequences),) = {
        (run.data.heldout, run.data.tokenizer, run.data.heldout_sequences) for run in planned.runs
    }
    assert judged.path.endswith("asyncio") and (tokenizer, sequences) == ("bytes", 1024)
    learned = {path for run in planned.runs for step in run.data.cleaning for path in step.positive}
    assert learned and not any(judged.path.startswith(path) for path in learned)


def test_a_cut_leaves_its_share_of_the_pool_and_repeats_it_the_more(planned):
    arms = by_arm(planned)
    assert list(arms) == ["keep 1", "keep 0.5", "keep 0.25", "keep 0.125", "keep 0.0625"]
    for name, cells in arms.items():
        keep = float(name.removeprefix("keep "))
        (data,) = {cell.run.data for cell in cells}
        assert data.most_tokens == pytest.approx(keep * 5e5, abs=256)  # whole steps
        assert [step.keep for step in data.cleaning if isinstance(step, QualityClassifier)] == (
            [keep] if keep < 1 else []
        )
    longest = max(run.tokens for run in planned.runs)
    assert longest / arms["keep 1"][0].run.data.most_tokens < 8  # nearly worth new tokens, by what is published
    assert longest / arms["keep 0.0625"][0].run.data.most_tokens > 40  # worth nothing more


def test_budgets_and_models_are_the_same_for_all_cuts(planned):
    grids = {
        name: {(cell.run.model, cell.run.tokens) for cell in cells if cell.run.seed == 0}
        for name, cells in by_arm(planned).items()
    }
    assert len(set(map(frozenset, grids.values()))) == 1 and len(grids["keep 1"]) >= 4


def test_the_unfiltered_pool_is_repeated_with_another_seed(planned):
    again = [cell for cell in planned.cells if cell.run.seed]
    assert again and {cell.arm for cell in again} == {"keep 1"}
