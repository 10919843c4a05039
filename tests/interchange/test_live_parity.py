"""Ours against transformers, run side by side: logits, gradients, and what is written back. Needs the extra `hf`."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from scaling import interchange
from scaling.interchange import Model, rules
from scaling.interchange.theirs import ARCHITECTURES
from tests.interchange import ours
from tests.interchange.cases import LIVE, STORED

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:transformers"),
]
CASES = STORED | LIVE


class Compared(NamedTuple):
    """What both sides make of one batch."""

    reference: Any  # their model
    model: Model
    batch: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]  # theirs,
    gradients: dict[str, np.ndarray]  # also theirs, by their names
    our_outputs: dict[str, np.ndarray]
    our_gradients: dict[str, np.ndarray]  # by our paths


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in CASES])
def compared(request, tmp_path_factory):
    from tests.interchange import reference

    case = CASES[request.param]
    theirs = reference.model_of(case, seed=1)
    batch = reference.batch_of(theirs, case.positions, seed=1)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    model = interchange.read(folder)
    gradients, outputs = ours.gradients_of(model, batch)
    return Compared(
        theirs,
        model,
        batch,
        reference.outputs_of(theirs, batch),
        reference.gradients_of(theirs, batch, ours.text_of(batch)),
        outputs,
        gradients,
    )


def test_logits_agree_on_text_beside_padding(compared):
    assert not ours.text_of(compared.batch).all()
    _assert_same_outputs(compared.our_outputs, compared.outputs, compared.batch)


def test_gradients_agree(compared):
    found, wanted = _as_theirs(compared.model, compared.our_gradients), compared.gradients
    largest = max(np.linalg.norm(value) for value in wanted.values())
    assert set(wanted) <= set(found) | {"cls.predictions.decoder.bias", "lm_head.decoder.bias"}
    for name in wanted.keys() & found.keys():
        error = np.linalg.norm(found[name] - wanted[name])
        # A gradient that is zero by symmetry (a bias of all keys) is rounding on both sides.
        assert error <= 1e-3 * np.linalg.norm(wanted[name]) + 1e-6 * largest, name


def test_what_is_written_back_loads_and_gives_the_same_logits(compared, tmp_path):
    from tests.interchange import reference

    interchange.write_ours(compared.model, tmp_path / "ours")
    interchange.write_theirs(interchange.read(tmp_path / "ours"), tmp_path / "back")
    again, info = type(compared.reference).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    assert not set(info["missing_keys"]) - {"final_logits_bias"}
    _assert_same_outputs(reference.outputs_of(again.eval(), compared.batch), compared.outputs, compared.batch)


def _assert_same_outputs(found, wanted, batch):
    text = ours.text_of(batch)
    # Both float32: logits of size 1 after a few dozen sums of tens of terms.
    np.testing.assert_allclose(found["logits"][text], wanted["logits"][text], atol=1e-4)
    assert found.keys() == wanted.keys()
    if "sentence" in wanted:
        np.testing.assert_allclose(found["sentence"], wanted["sentence"], atol=1e-4)


def _as_theirs(model, gradients):
    """Gradients by their names: the linear part of the rules, which carries no constant."""
    architecture = ARCHITECTURES[model.origin["model_type"]]
    fields = architecture.carry(architecture.write(model.config), model.origin)
    found = architecture.rules(model.config, fields, rules.stacks(model.params))
    kept = {path: np.zeros_like(value) for path, value in gradients.items()}
    nowhere = {leaf for rule in found if not rule.theirs for leaf in rule.ours}
    given = {path: np.array(value) for path, value in gradients.items()}
    for path, row in nowhere:
        given[path][row] = 0
    constant = rules.store(found, kept, "theirs")
    return {name: value - constant[name] for name, value in rules.store(found, given, "theirs").items()}
