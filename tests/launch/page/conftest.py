"""A launched study of made-up runs."""

from pathlib import Path

import pytest

from scaling.plan import Study
from scaling.workspace import Workspace
from tests.launch.page.made import launched, study_of


@pytest.fixture
def study() -> Study:
    return study_of()


@pytest.fixture
def workspace(tmp_path: Path, study: Study) -> Workspace:
    return launched(tmp_path, study)
