import os

import pytest

from tests.cluster import virtual


def test_without_its_programs_no_cluster_starts_and_they_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(virtual, "PROGRAMS", ("bash", "slurm-of-another-world"))
    with pytest.raises(virtual.CannotStart, match=r"no slurm-of-another-world; as root: python -m .* install"):
        virtual.start(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_root_starts_and_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(virtual, "PROGRAMS", ("bash",))
    virtual.install()  # nothing is missing
    with pytest.raises(virtual.CannotStart, match="must be started by root"):
        virtual.start(tmp_path)
    monkeypatch.setattr(virtual, "PROGRAMS", ("slurm-of-another-world",))
    with pytest.raises(virtual.CannotStart, match="only root can install them, with apt-get"):
        virtual.install()
