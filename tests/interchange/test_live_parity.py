"""Ours against transformers, run side by side: logits, gradients, and what is written back. Needs the extra `hf`."""

import numpy as np
import pytest

from scaling import interchange
from scaling.interchange import Model, rules
from scaling.interchange.theirs import ARCHITECTURES
from tests.interchange import ours
from tests.interchange.cases import LIVE, STORED

pytestmark = pytest.mark.parity

CASES = STORED | LIVE


# One test a case, so that the cases can be spread over the cores; the reference is the slow part.
@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_agree_and_what_is_written_back_loads(name, tmp_path):
    from tests.interchange import reference

    theirs = reference.model_of(CASES[name], seed=1)
    batch = reference.batch_of(theirs, CASES[name].positions, seed=1)
    text = ours.text_of(batch)
    assert not text.all(), "padding is part of the comparison"
    theirs.save_pretrained(tmp_path / "theirs")
    model = interchange.read(tmp_path / "theirs")
    outputs = reference.outputs_of(theirs, batch)
    our_gradients, our_outputs = ours.gradients_of(model, batch)

    assert_same_outputs(our_outputs, outputs, text)
    assert_same_gradients(model, our_gradients, reference.gradients_of(theirs, batch, text))

    interchange.write_ours(model, tmp_path / "ours")
    interchange.write_theirs(interchange.read(tmp_path / "ours"), tmp_path / "back")
    again, info = type(theirs).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    assert not set(info["missing_keys"]) - {"final_logits_bias"}
    assert_same_outputs(reference.outputs_of(again.eval(), batch), outputs, text)


def assert_same_outputs(found: dict, wanted: dict, text: np.ndarray) -> None:
    assert found.keys() == wanted.keys()
    # Both float32: logits of size 1 after a few dozen sums of tens of terms.
    np.testing.assert_allclose(found["logits"][text], wanted["logits"][text], atol=1e-4)
    if "sentence" in wanted:
        np.testing.assert_allclose(found["sentence"], wanted["sentence"], atol=1e-4)


def assert_same_gradients(model: Model, gradients: dict, wanted: dict) -> None:
    """gradients by our paths, wanted by the names of their file: all of theirs are compared."""
    other_names = ARCHITECTURES[model.origin["model_type"]].in_place_of
    wanted = {other_names.get(name, name): value for name, value in wanted.items()}
    found = _as_theirs(model, gradients)
    assert len(wanted) > 10 and wanted.keys() <= found.keys()
    largest = max(np.linalg.norm(value) for value in wanted.values())
    for name, value in wanted.items():
        error = np.linalg.norm(found[name] - value)
        # A gradient that is zero by symmetry (a bias of all keys) is rounding on both sides.
        assert error <= 1e-3 * np.linalg.norm(value) + 1e-6 * largest, name


def _as_theirs(model: Model, gradients: dict) -> dict[str, np.ndarray]:
    """Gradients by their names: the linear part of the rules, which carries no constant."""
    architecture = ARCHITECTURES[model.origin["model_type"]]
    fields = architecture.carry(architecture.write(model.config), model.origin)
    found = architecture.rules(model.config, fields, rules.stacks(model.params))
    constant = rules.store(found, {path: np.zeros_like(value) for path, value in gradients.items()}, "theirs")
    given = {path: np.array(value) for path, value in gradients.items()}
    for path, row in (leaf for rule in found if not rule.theirs for leaf in rule.ours):
        given[path][row] = 0  # a bias that they do not have
    stored = rules.store(found, given, "theirs")
    return {name: value - constant[name] for name, value in stored.items()}
