"""Transfer, fine-tuning, distillation: known values, limits, recovery."""

import numpy as np
import pytest
from designs import factorial
from recovery import at

from analysis.laws.pretraining import kernel
from analysis.laws.transfer import distillation, finetuning, transferred_data

EXACT = 1e-12  # relative: double precision through a few powers
GAP = dict(A=300.0, alpha=0.35, B=3000.0, beta=0.4, gamma=0.8)
STUDENT = dict(**GAP, c0=1.5, c1=4.0, d1=1.1, f1=0.2)
ALONE = dict(E=1.2, A=100.0, alpha=0.3, B=700.0, beta=0.35, k=1.0)


def students(params, tokens, teacher):
    columns = factorial(params=params, tokens=tokens, teacher_loss=teacher)
    sizes = {name: columns[name] for name in ("params", "tokens")}
    return columns | {"supervised_loss": at(kernel, sizes, **ALONE)}


CASES = {
    "transfer": (
        transferred_data, dict(k=1.9e4, alpha=0.18, beta=0.38),
        factorial(params=np.geomspace(1e6, 1e9, 5), finetune_tokens=np.geomspace(1e5, 1e9, 6)), 0.1,
    ),
    "finetuning": (
        finetuning(), dict(E=0.8, A=40.0, alpha=0.12, beta=0.1),
        factorial(params=np.geomspace(1e7, 1e11, 6), finetune_tokens=np.geomspace(1e3, 1e8, 6)), 5e-4,
    ),
    "distillation": (
        distillation, STUDENT,
        students(np.geomspace(1e7, 1e10, 4), np.geomspace(1e8, 1e11, 4), np.linspace(1.6, 3.4, 6)), 3e-4,
    ),
}  # fmt: skip


@pytest.mark.slow  # it compiles a solver for each
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_and_the_laws_own_starts_find_it(recovered, name):
    recovered[name].check()


def test_transferred_data_is_the_published_product_of_powers():
    found = at(transferred_data, {"finetune_tokens": 1e6, "params": 1e8}, k=1.9e4, alpha=0.18, beta=0.38)
    assert found == pytest.approx(1.9e4 * 10 ** (6 * 0.18 + 8 * 0.38), rel=EXACT)


def test_fine_tuning_multiplies_what_two_columns_bring():
    columns = factorial(lora_rank=[1, 4, 64], finetune_tokens=[1e4, 1e7])
    found = at(finetuning("lora_rank"), columns, E=0.8, A=2.0, alpha=0.02, beta=0.1)
    expected = 2 * columns["lora_rank"] ** -0.02 * columns["finetune_tokens"] ** -0.1 + 0.8
    np.testing.assert_allclose(found, expected, rtol=EXACT)


def test_the_fine_tuning_law_of_a_column_names_it_and_is_made_once():
    law = finetuning("lora_rank")
    assert law.formula == "L = A / (lora_rank^alpha D_f^beta) + E"
    assert law.columns == ("lora_rank", "finetune_tokens")
    assert finetuning("lora_rank") is law


def test_a_distilled_loss_is_the_published_formula():
    columns = students([1e8, 1e10], [1e9, 1e11], [1.8, 2.4, 3.0])
    teacher, alone = columns["teacher_loss"], columns["supervised_loss"]
    own = (300 / columns["params"] ** 0.35 + 3000 / columns["tokens"] ** 0.4) ** 0.8
    expected = teacher + teacher**-1.5 * (1 + (teacher / (alone * 1.1)) ** (1 / 0.2)) ** (-4 * 0.2) * own
    np.testing.assert_allclose(at(distillation, columns, **STUDENT), expected, rtol=EXACT)


def test_a_student_without_limits_equals_its_teacher():
    columns = {"params": 1e40, "tokens": 1e40, "teacher_loss": 2.0, "supervised_loss": 1.2}
    assert at(distillation, columns, **STUDENT) == pytest.approx(2.0, rel=1e-9)  # 300 * 1e40^-0.35 = 3e-12, to the 0.8


def test_far_from_the_bend_a_student_follows_one_power_of_its_teacher_or_another():
    columns = students([1e8], [1e9], [1.0])
    own = (300 / 1e8**0.35 + 3000 / 1e9**0.4) ** 0.8
    sharp = {**STUDENT, "f1": 1e-3}
    good = columns | {"teacher_loss": np.array([1.5]), "supervised_loss": np.array([3.0])}
    assert at(distillation, good, **sharp) == pytest.approx(1.5 + 1.5**-1.5 * own, rel=EXACT)
    # Its ratio to the student's own loss, 1.1 d1, now counts with the exponent -c1; (1.1^1000 is finite only in logs).
    weak = columns | {"teacher_loss": np.array([3.63]), "supervised_loss": np.array([3.0])}
    assert at(distillation, weak, **sharp) == pytest.approx(3.63 + 3.63**-1.5 * 1.1**-4.0 * own, rel=EXACT)
