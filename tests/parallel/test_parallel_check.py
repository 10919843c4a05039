"""What the check must catch; that nothing is wrong in all placements of every family, `scaling check-parallel` says."""

from dataclasses import replace

import jax
import pytest

from scaling.config import DataConfig, OptimConfig, Placement, RunConfig, TransformerConfig
from scaling.models.layers import MLP
from scaling.parallel.check import Finding, check, compare, surprises
from scaling.parallel.hlo import Collective
from scaling.parallel.layout import Layout
from scaling.parallel.traffic import Line, Traffic
from scaling.training import gradients, step

RUN = RunConfig(
    model=TransformerConfig(vocab=272, dim=16, layers=1, heads=2, context=8),
    data=DataConfig(vocab=272),
    batch=4,
    tokens=4 * 8,
    optim=OptimConfig(label_smoothing=0.1),
)
PLACEMENT, LAYOUT = Placement(data=2, tensor=2), Layout(data=2, tensor=2)


@pytest.fixture
def fresh():
    """Steps are compiled once for every layout: one that a test changes must not be found by another."""
    step.compiled_step.cache_clear()
    yield
    step.compiled_step.cache_clear()


def test_a_sound_step_has_no_fault():
    found = compare(RUN, PLACEMENT, LAYOUT)
    assert found.faults() == {}
    assert found.state_bytes < found.state_bytes_alone


def test_an_accidental_gather_is_named_with_its_line(fresh, monkeypatch):
    sound = MLP.__call__

    def gathered(self, x_MD, layout):
        y_MD = sound(self, x_MD, layout)
        return y_MD + 0 * jax.lax.all_gather(y_MD, "data")[0] if layout.data > 1 else y_MD

    monkeypatch.setattr(MLP, "__call__", gathered)
    found = compare(RUN, PLACEMENT, LAYOUT)
    (fault,) = [line for line in found.faults()["collectives"].splitlines() if "all-gather" in line]
    # 8 tokens a device, of two devices, 16 wide.
    assert fault.startswith("unexpected all-gather over data: 1,024 bytes, the table has 0; look at all-gather")
    assert "test_parallel_check.py:" in fault and "all_gather" in fault


def test_a_wrong_reduction_is_caught_though_it_sends_the_same(fresh, monkeypatch):
    sound = gradients._over_devices
    monkeypatch.setattr(
        gradients, "_over_devices", lambda grads, layout: jax.tree.map(lambda g: g / layout.data, sound(grads, layout))
    )
    faults = compare(RUN, PLACEMENT, LAYOUT).faults()
    assert "differs by 5.0e-01 of its norm" in faults["gradients"]
    assert "collectives" not in faults and "loss" in faults  # of the second step


def test_a_placement_that_does_not_fit_is_told_with_its_reason():
    ((placement, reason),) = check(RUN, [Placement(data=1, expert=2)], 8)
    assert placement.expert == 2 and "no experts" in reason


TABLE = Traffic(
    layout=Layout(data=2, fsdp=2),
    lines=(
        Line(what="weights", kind="all-gather", axes=("fsdp",), payload_bytes=64, times=2),
        Line(what="sums", kind="all-reduce", axes=("data",), payload_bytes=8),
        Line(what="known sums", kind="all-reduce", axes=("data",), payload_bytes=4, may_be_absent=True),
    ),
)
SENT = [
    Collective("all-gather", ("fsdp",), 64, 2, True, "step/all_gather", "weights.py:1"),
    Collective("all-reduce", ("data",), 8, 1, True, "step/psum", "step.py:1"),
]


def test_what_may_be_absent_may_be_sent_or_not():
    assert surprises(SENT, TABLE) == ()
    assert surprises([SENT[0], SENT[1]._replace(payload_bytes=12)], TABLE) == ()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (SENT[:1], "missing all-reduce over data: 0 bytes, the table has 8 (sums)"),
        ([SENT[0]._replace(times=1), SENT[1]], "missing all-gather over fsdp: 64 bytes, the table has 128 (weights)"),
        ([*SENT, SENT[1]._replace(axes=("data", "fsdp"))], "unexpected all-reduce over data x fsdp: 8 bytes"),
        ([*SENT, SENT[0]._replace(payload_bytes=32, line="odd.py:7")], "32 bytes 2 times, step/all_gather, odd.py:7"),
        ([SENT[0]._replace(is_certain=False), SENT[1]], "runs an unknown number of times"),
    ],
)
def test_what_is_missing_and_what_is_too_much_is_named(sent, said):
    (found,) = surprises(sent, TABLE)
    assert said in found


SOUND = Finding(
    placement=PLACEMENT, layout=LAYOUT, loss=0.0, gradients=0.0, worst_gradient="head", steps=0.0, bound=1e-6,
    state_bytes=100, state_bytes_expected=100, state_bytes_alone=200, temporary_bytes=50, temporary_bytes_expected=50,
    temporary_bytes_alone=100, surprises=(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"loss": 1e-5}, "loss"),
        ({"loss": float("nan")}, "loss"),
        ({"gradients": 1e-5}, "gradients"),
        ({"steps": 1e-3}, "steps"),
        ({"state_bytes": 130}, "memory"),
        ({"temporary_bytes": 61}, "memory"),
        ({"surprises": ("unexpected",)}, "collectives"),
    ],
)
def test_each_column_has_its_bound(changed, column):
    assert SOUND.faults() == {}
    assert list(replace(SOUND, **changed).faults()) == [column]
