"""Placements: what they refuse, and how many devices a run takes."""

import pytest

from scaling.config import Placement


def test_a_run_takes_the_product_of_its_axes_and_one_copy_where_the_rest_is_left_open():
    assert Placement().devices == 1
    assert Placement(fsdp=4, tensor=2).devices == 8
    assert Placement(data=3, fsdp=4).devices == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": 0}, "Placement.data=0: give a positive number, or -1"),
        ({"tensor": 0}, "Placement.tensor=0: must be positive"),
        ({"repeats": 2}, "Placement.repeats=2 with pipe=1"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Placement(**options)
