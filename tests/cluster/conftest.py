"""A SLURM cluster for the tests of this folder; they are skipped, with the reason, where none can be started."""

import pytest

from tests.cluster import virtual


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster's folder; sbatch and the like find it by the environment."""
    folder = tmp_path_factory.mktemp("slurm")
    try:
        virtual.start(folder)
    except virtual.CannotStart as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in virtual.environment(folder).items():
            patch.setenv(name, value)
        yield folder
    virtual.stop(folder)
