"""Calibration: nothing before it is fitted, temperature and shift after."""

import pytest
import torch

from dqroute.measures.calibration import Calibration


def test_unfitted_calibration_changes_nothing():
    logits = torch.randn(5, 3)
    torch.testing.assert_close(Calibration(torch.tensor([0, 1, 1]))(logits), logits.log_softmax(dim=1))


def test_calibration_finds_temperature_and_shift():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(4000)
    # Of two classes with unit Gaussians at ±1 the log-odds are 2x: these logits are twice too sure, and 3 too low.
    x = torch.randn(8000, generator=generator) + 2.0 * labels - 1
    calibration = Calibration(torch.tensor([0, 1]))
    calibration.fit(torch.stack([torch.zeros(8000), 4 * x - 3], dim=1), labels, shrink=0)
    assert calibration.scale.item() == pytest.approx(0.5, abs=0.03)
    assert (calibration.shifts[1] - calibration.shifts[0]).item() == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_calibration_takes_logits_of_16_bits(kind):
    calibration = Calibration(torch.tensor([0, 1, 1]))
    calibration.fit(torch.randn(9, 3).to(kind), torch.arange(3).repeat(3))
    assert torch.isfinite(calibration(torch.randn(4, 3).to(kind))).all()


def test_a_ring_that_nobody_may_judge_stays_where_it_was():
    """Its images are not there to ask for it: fitted like the others, it would be pushed down without end."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat(200)
    logits = torch.randn(400, 3, generator=generator)
    logits[torch.arange(400), labels] += 2
    calibration = Calibration(torch.tensor([0, 1, 2]))
    calibration.fit(logits, labels)
    assert calibration.shifts[2] == 0 and calibration.shifts.abs().max() < 0.5
