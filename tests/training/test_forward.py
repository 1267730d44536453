"""From a batch to its loss: who is mixed with whom. What the folds learn, tests/training/test_fit_features.py asks."""

import torch

import dqroute as dq
from dqroute.training.distribution import Processes
from dqroute.training.forward import Forward


def test_images_are_mixed_with_others_of_their_fold_alone(tmp_path):
    data = dq.load("digits", imbalance=10, backbone="gradient-histograms")
    run = dq.fit("balpoe", data, runs_dir=tmp_path, epochs=1, progress=False)
    forward = Forward(run.new_model(), "fp32", torch.device("cpu"), Processes())
    fold, inputs = torch.arange(60) % 3 - 1, torch.arange(60.0)[:, None]
    mixed, partner, share = forward.mixed(inputs, fold)
    assert fold[partner].equal(fold) and partner.sort().values.equal(torch.arange(60))
    assert 0 < share < 1 and not partner.equal(torch.arange(60))
    torch.testing.assert_close(mixed, share * inputs + (1 - share) * inputs[partner])
    forward.model.mixup = 0.0
    assert forward.mixed(inputs, fold)[:2] == (inputs, None)
