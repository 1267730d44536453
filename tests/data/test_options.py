"""A seed is a whole number, whatever kind of whole number it is."""

import numpy as np
import pytest

from dqroute.data.options import checked_seed


@pytest.mark.parametrize("seed", [0, 7, np.int64(3)], ids=repr)
def test_a_whole_number_is_a_seed_and_comes_back_plain(seed):
    assert checked_seed(seed) == seed and type(checked_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, 0.0, 1.5, "0", None, True], ids=repr)
def test_anything_else_is_no_seed(seed):
    with pytest.raises(ValueError, match="a seed is a whole number from 0 and below 2..63; got"):
        checked_seed(seed)
