"""Fine-tuning a pretrained encoder: it begins with what the heads know, and trains what it is told to train."""

import pytest
import torch
from torch import nn

import dqroute as dq
from dqroute.models import encoders
from dqroute.models.encoders import Preprocessing, encoder, loaded

QUIET = {"progress": False, "device": "cpu", "precision": "fp32"}


@pytest.fixture
def small():
    """An encoder of two blocks for pictures of 8 by 8; the registry is as it was, afterwards."""
    before = dict(encoders.ENCODERS)

    @encoder("small")
    def small_one():
        torch.manual_seed(0)
        block = [nn.Sequential(nn.Conv2d(c, 12, 3, padding=1), nn.GroupNorm(3, 12), nn.ReLU()) for c in (3, 12)]
        return nn.Sequential(*block), Preprocessing(8)

    yield "small"
    encoders.ENCODERS.clear()
    encoders.ENCODERS.update(before)
    loaded.cache_clear()


@pytest.fixture
def colour(tiny):
    """The tiny set in three channels."""
    from dataclasses import replace

    from dqroute.data.image_set import Split

    parts = {n: Split(s.images.expand(-1, 3, -1, -1).contiguous(), s.labels) for n, s in tiny.splits.items()}
    return replace(tiny, **parts, identity=tiny.identity | {"channels": 3})


def parameters_of(run):
    return {name: value.clone() for name, value in run.model.network.trunk[0].network.state_dict().items()}


def test_it_begins_with_what_the_heads_say(small, colour, runs_dir, monkeypatch):
    monkeypatch.setattr(encoders, "uses_bf16", lambda *_: False)
    tuned = dq.fit("dqroute", colour, backbone=small, tune="all", epochs=1, lr=0.0, runs_dir=runs_dir, **QUIET)
    heads = dq.fit("dqroute", colour, backbone=small, runs_dir=runs_dir, progress=False, device="cpu")
    ours = tuned.model.eval()(colour.test.images).logits
    theirs = heads.model.outputs(colour.test.images).logits[:3]
    torch.testing.assert_close(ours, theirs, atol=0.2, rtol=0.02)  # those of the cache have 16 bits
    before = encoders.architecture(small)[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in parameters_of(tuned).items())


@pytest.mark.parametrize(("tune", "moves"), [("all", (True, True)), (1, (False, True))])
def test_what_is_to_be_trained_is(small, colour, runs_dir, tune, moves):
    asked = {"backbone": small, "tune": tune, "epochs": 2, "runs_dir": runs_dir} | QUIET
    run = dq.fit("logit-adjustment", colour, **asked)
    before, after = encoders.architecture(small)[0].state_dict(), parameters_of(run)
    for block, moved in enumerate(moves):
        changed = [not torch.equal(before[n], v) for n, v in after.items() if n.startswith(f"{block}.")]
        assert any(changed) == moved and (moved or not any(changed))
    # Found again, opened from its folder, and put to work.
    assert dq.fit("logit-adjustment", colour, **asked).folder == run.folder
    again = dq.Run(run.folder).model.predict(colour.test.images)
    assert torch.equal(again.label, run.model.predict(colour.test.images).label)
    assert dq.evaluate(run).overall > 0.25


def test_without_heads_first_no_heads_are_trained(small, colour, runs_dir, monkeypatch):
    monkeypatch.setattr("dqroute.training.fit.features", None)  # nor is anything computed for them
    dq.fit("cross-entropy", colour, backbone=small, tune="all", heads_first=False, epochs=1, runs_dir=runs_dir, **QUIET)
    assert len(list(runs_dir.rglob("settings.json"))) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tune": 0}, "tune must be 'heads', 'all' or how many"),
        ({"tune": "some"}, "tune must be 'heads', 'all' or how many"),
        ({"tune": "all", "backbone": "resnet8"}, "tune belongs to a pretrained encoder"),
    ],
)
def test_what_cannot_be_tuned_is_said(small, colour, runs_dir, asked, said):
    with pytest.raises(ValueError, match=said):
        dq.fit("cross-entropy", colour, **{"backbone": small, "runs_dir": runs_dir} | asked | QUIET)


def test_pictures_of_another_size_are_refused(small, runs_dir):
    data = dq.load("glyphs", imbalance=10, n_max=20, size=16)
    with pytest.raises(
        ValueError, match="to train small on, pictures are 3x8x8; these are 1x16x16: load the set with size=8"
    ):
        dq.fit("cross-entropy", data, backbone=small, tune="all", heads_first=False, runs_dir=runs_dir, **QUIET)
