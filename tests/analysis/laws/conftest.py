"""What the tests of all laws share."""

import pytest
from recovery import recover_all


@pytest.fixture(scope="module")
def recovered(request):
    """Coverage of each of a module's CASES (law, truth, columns, noise), the law's own starts tried as well."""
    return recover_all(request.module.CASES, own_starts=request.module.CASES)
