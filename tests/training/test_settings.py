"""Schedules worked by hand, presets, and errors that name the setting."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqroute.training.settings import PRESETS, Settings, fitting_size, setting_names, training_settings


def test_cosine_by_hand():
    """12 epochs, 2 of warm-up: half-way up at 1, the peak at 2, ½ of it at 7, ½(1 + cos 3π/4) at 9.5."""
    share = Settings(epochs=12, warmup=2).share
    assert share(0) == 0
    assert share(1) == pytest.approx(0.5)
    assert share(2) == pytest.approx(1)
    assert share(7) == pytest.approx(0.5)
    assert share(9.5) == pytest.approx(0.5 * (1 - math.sqrt(0.5)))
    assert share(12) == pytest.approx(0)


def test_few_images_get_enough_steps_and_a_small_scale():
    """549 images: 18 batches of 32 an epoch, 23 epochs are 414 steps. From 4,000 on as the preset has it."""
    assert fitting_size(549) == {"batch_size": 32, "epochs": 23, "cosine_scale": 10}
    assert fitting_size(3000)["cosine_scale"] == 15
    preset = PRESETS["features"]
    as_is = {"batch_size": preset.batch_size, "epochs": preset.epochs, "cosine_scale": preset.cosine_scale}
    assert fitting_size(10_847) == as_is


def test_cosine_without_warmup_starts_at_the_peak():
    share = Settings(epochs=10, warmup=0).share
    assert share(0) == 1 and share(5) == pytest.approx(0.5)


def test_steps_by_hand():
    """The field's schedule: a rate of 0.1, warm over 5 epochs, a tenth from 160 of 200, a hundredth from 180."""
    paper = PRESETS["paper"]
    expected = {0: 0, 2.5: 0.05, 5: 0.1, 100: 0.1, 159.9: 0.1, 160: 0.01, 179.9: 0.01, 180: 0.001, 200: 0.001}
    assert {epoch: paper.lr * paper.share(epoch) for epoch in expected} == pytest.approx(expected)


@given(st.sampled_from(["cosine", "step"]), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_share_of_the_rate_never_leaves_zero_to_one(schedule, epochs, warm_share, share):
    settings = Settings(epochs=epochs, schedule=schedule, warmup=warm_share * epochs)
    assert 0 <= settings.share(share * epochs) <= 1


def test_presets_say_what_the_page_says():
    paper = PRESETS["paper"]
    assert (paper.epochs, paper.backbone, paper.schedule, paper.warmup) == (200, "resnet32", "step", 5.0)
    assert (paper.lr, paper.momentum, paper.weight_decay, paper.batch_size) == (0.1, 0.9, 5e-4, 128)
    assert paper.optimizer == "sgd"
    assert PRESETS["laptop"] == Settings(optimizer="muon")


def test_changes_apply_and_none_means_as_the_preset_has_it():
    settings = training_settings("paper", {"lr": 0.2, "epochs": None, "batch_size": 64})
    assert (settings.lr, settings.epochs, settings.batch_size) == (0.2, 200, 64)


def test_a_presets_warmup_shrinks_with_a_short_training_but_not_the_callers():
    assert training_settings("paper", {"epochs": 6}).warmup == 2
    assert training_settings("paper", {"epochs": 100}).warmup == 5
    assert training_settings("paper", {"epochs": 6, "warmup": 4}).warmup == 4


def test_an_unknown_preset_lists_the_valid_ones():
    with pytest.raises(ValueError, match="laptop, paper"):
        training_settings("laptp", {})


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"epochs": 100_001},
        {"epochs": 10**5000},
        {"epochs": True},
        {"epochs": float("inf")},
        {"epochs": 2.5},
        {"epochs": "3"},
        {"batch_size": 0},
        {"batch_size": 10**6},
        {"shared_depth": 0},
        {"branch_width": 0.01},
        {"lr": -1},
        {"lr": 1e4},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"lr": 10**400},
        {"lr": True},
        {"lr": "fast"},
        {"momentum": 1.5},
        {"weight_decay": -1e-4},
        {"warmup": 31},
        {"warmup": "1"},
        {"schedule": "linear"},
        {"schedule": ["step"]},
        {"precision": "fp8"},
        {"backbone": ""},
        {"backbone": "x" * 201},
        {"pretrained": 3},
        {"pretrained": "x" * 5000},
    ],
    ids=lambda change: f"{change}"[:40] if "epochs" not in change else f"epochs-{type(change['epochs']).__name__}",
)
def test_what_is_no_setting_is_named_in_one_line_with_the_range(change):
    with pytest.raises(ValueError, match=next(iter(change))) as caught:
        training_settings("laptop", change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert re.search(
        r"must be (a (whole )?number from|a network's name|None, |None or |'cosine')|the valid ones are|100",
        str(caught.value),
    )


def test_messages_say_the_range_and_the_nearest_name():
    for change, message in (
        ({"epochs": 0}, "epochs must be a whole number from 1 to 100,000; got 0"),
        ({"branch_width": 20}, "branch_width must be a number from 0.05 to 16; got 20"),
        ({"warmup": 31}, "warmup must be a number from 0 to the 12 epochs; got 31"),
        (
            {"schedule": "cosin"},
            r"unknown schedule 'cosin' \(did you mean 'cosine'\?\); the valid ones are cosine, step",
        ),
        ({"bach_size": 1}, r"unknown setting 'bach_size' \(did you mean 'batch_size'\?\)"),
    ):
        with pytest.raises(ValueError, match=message):
            training_settings("laptop", change)


def test_settings_stay_as_they_are():
    with pytest.raises(AttributeError):
        PRESETS["paper"].epochs = 3


def test_a_path_is_taken_as_its_text():
    assert training_settings("laptop", {"pretrained": Path("a") / "b.safetensors"}).pretrained == str(
        Path("a/b.safetensors")
    )


def test_setting_names_are_the_dataclasss():
    assert setting_names() == list(vars(Settings()))


def test_a_whole_number_out_of_an_array_becomes_a_plain_one():
    settings = training_settings("laptop", {"epochs": np.int64(2), "batch_size": np.int64(64)})
    assert json.dumps(vars(settings)) == json.dumps(vars(training_settings("laptop", {"epochs": 2, "batch_size": 64})))
