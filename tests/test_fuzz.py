"""Whatever stands in a list, a table, a grid or a run's settings: it is taken, or refused in one clear line."""

import pytest
from fuzzing import Inputs

KINDS = ["lists", "tables", "grids", "settings"]


@pytest.fixture
def inputs(tmp_path, trained):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "run").mkdir()
    for file in trained[1].folder.iterdir():
        (tmp_path / "run" / file.name).write_bytes(file.read_bytes())
    return Inputs(tmp_path / "inputs", type(trained[1])(tmp_path / "run"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_hundred_inputs_are_taken_or_refused_in_one_line(inputs, kind):
    ends, wrong = inputs.tried(kind, 200, seed=0)
    assert not wrong and ends["taken"] and ends["refused"]


@pytest.mark.weekly
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_thousand_inputs_are_taken_or_refused_in_one_line(inputs, kind):
    ends, wrong = inputs.tried(kind, 25_000, seed=1)
    assert not wrong and sum(ends.values()) == 25_000
