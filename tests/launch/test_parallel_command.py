"""The command around the check; the check itself is tested in tests/parallel/test_parallel_check.py."""

import os
from dataclasses import replace

import jax
import pytest

from launch.parallel_command import check_parallel
from scaling.parallel import check as module
from scaling.parallel.tiny import axes_of
from tests.parallel.test_parallel_check import SOUND


@pytest.fixture
def asked(monkeypatch):
    """What the check is asked for; in place of training, all is sound but for what `asked["faults"]` changes."""
    found = {"calls": [], "faults": {}}

    def check(run, placements, devices):
        found["calls"].append((run, placements, devices))
        for placement in placements:
            if placement.expert > 1 and run.model.moe is None:
                yield placement, "no experts"
            else:
                changed = found["faults"].get(axes_of(placement), {})
                yield replace(SOUND, placement=placement, **changed)

    assert len(jax.devices()) == 8  # before the command changes what JAX would find
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])  # the command adds to it; this puts it back
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(module, "check", check)
    return found


def test_every_kind_of_a_study_is_checked_once_by_what_fits_the_devices(asked, capsys):
    check_parallel(["moe", "--devices", "4"])
    kinds = {(run.model.moe is not None, run.model.dim) for run, _, _ in asked["calls"]}
    assert (False, 32) in kinds and (True, 32) in kinds
    for _, placements, devices in asked["calls"]:
        assert devices == 4
        assert all(placement.fsdp * placement.tensor * placement.pipe <= 4 for placement in placements)
    said = capsys.readouterr().out
    assert "decoder, next_token" in said and "as expected" in said and "does not fit: no experts" in said


def test_a_fault_is_told_and_is_the_exit_code(asked, capsys):
    asked["faults"]["data 2"] = {"surprises": ("unexpected all-gather over data: 8 bytes",)}
    with pytest.raises(SystemExit) as stopped:
        check_parallel(["chinchilla", "--devices", "2"])
    assert stopped.value.code == 1
    assert "data 2: collectives: unexpected all-gather over data: 8 bytes" in capsys.readouterr().out


def test_more_devices_than_there_are_is_refused(asked):
    with pytest.raises(ValueError, match=r"--devices 64: JAX has 8 of platform cpu; ask for 8"):
        check_parallel(["chinchilla", "--devices", "64"])
