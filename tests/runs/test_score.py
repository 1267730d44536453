"""Scores worked by hand on small predictions, and the report that holds them."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqroute.core.long_tail import ShotGroups
from dqroute.methods.prediction import Prediction
from dqroute.runs.report import Report
from dqroute.runs.score import detector_quality, score

GROUPS = ShotGroups((0, 1), (2,), (3,), "thirds")
ALL = torch.ones(1, 4, dtype=torch.bool)


def prediction_of(probabilities, experts=1, **changes):
    """A prediction with these class probabilities; the experts weigh the same."""
    best = probabilities.max(dim=1)
    n = len(probabilities)
    given_ = {
        "label": best.indices,
        "probability": best.values,
        "expert_weights": torch.full((n, experts), 1 / experts),
        "confidence": torch.ones(n, experts),
        "probabilities": probabilities,
        "expert_labels": best.indices[:, None].expand(n, experts),
        "mean_label": best.indices,
        "calibrated_label": best.indices,
    }
    return Prediction(**(given_ | changes))


def sure_of(labels, classes=4):
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).float()


def test_score_by_hand():
    """Labels 0000 1 22 3; said 0001 0 22 0.

    Per class ¾, 0, 1, 0: balanced 7/16. Overall 5 of 8. Many (classes 0, 1): 3 of 5. Medium 1, few 0.
    """
    labels, said = [0, 0, 0, 0, 1, 2, 2, 3], [0, 0, 0, 1, 0, 2, 2, 0]
    report = score(
        prediction_of(sure_of(said)), torch.tensor(labels), GROUPS, torch.ones(1, 4, dtype=torch.bool), "test"
    )
    assert report.images == 8 and report.split == "test"
    assert report.per_class == [0.75, 0, 1, 0]
    assert report.balanced == pytest.approx(7 / 16)
    assert report.overall == pytest.approx(5 / 8)
    assert (report.many, report.medium, report.few) == pytest.approx((3 / 5, 1, 0))
    assert report.per_expert == pytest.approx([5 / 8])
    assert "2 many / 1 medium / 1 few" in report.groups
    # Sure of everything: the calibration error is the share of wrong images.
    by_hand = {"overall": 3 / 8, "many": 2 / 5, "medium": 0, "few": 1}
    assert report.calibration == pytest.approx(by_hand)
    assert report.detectors == []


def test_the_plain_mean_is_scored_beside_the_fused_prediction():
    prediction = prediction_of(sure_of([0, 2, 3]), mean_label=torch.tensor([0, 1, 3]))
    report = score(prediction, torch.tensor([0, 2, 3]), GROUPS, torch.ones(1, 4, dtype=torch.bool), "test")
    assert report.overall == 1
    groups = {name: report.plain_mean[name] for name in ("overall", "many", "medium", "few")}
    assert groups == pytest.approx({"overall": 2 / 3, "many": 1, "medium": 0, "few": 1})


def test_a_group_or_class_without_images_is_none_not_zero():
    report = score(
        prediction_of(sure_of([0, 2])), torch.tensor([0, 2]), GROUPS, torch.ones(1, 4, dtype=torch.bool), "test"
    )
    assert report.few is None and report.calibration["few"] is None and report.expert_weights["few"] is None
    assert report.per_class == [1, None, 1, None] and report.balanced == 1
    empty = score(
        prediction_of(sure_of([0, 2])),
        torch.tensor([0, 2]),
        ShotGroups((0, 1, 2, 3), (), (), "shots"),
        torch.ones(1, 4, dtype=torch.bool),
        "test",
    )
    assert (empty.many, empty.medium, empty.few) == (1, None, None)
    assert "–" in str(empty)


def test_experts_by_hand():
    """Two images of class 0 (many) and one of class 3 (few); the experts' weights are averaged by group."""
    labels = [0, 0, 3]
    weights = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    alone = torch.tensor([[0, 3], [0, 0], [0, 3]])
    prediction = prediction_of(sure_of(labels), 2, expert_weights=weights, expert_labels=alone)
    members = torch.tensor([[True] * 4, [False, False, False, True]])
    report = score(prediction, torch.tensor(labels), GROUPS, members, "test")
    assert report.per_expert == pytest.approx([2 / 3, 2 / 3])
    assert report.expert_weights["many"] == pytest.approx([0.7, 0.3])
    assert report.expert_weights["few"] == pytest.approx([0.1, 0.9])
    assert report.expert_weights["medium"] is None


def test_detectors_by_hand():
    """Own images score 0.9, 0.8, 0.4, outsiders 0.7, 0.3, 0.2, 0.1.

    Of 12 pairs the own image is ahead in 4 + 4 + 3 = 11. To let in 95 % of 3 own ones, all three: the bar is 0.4,
    and one outsider of four is let in.
    """
    confidence = torch.tensor([0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1])
    labels = torch.tensor([1, 1, 1, 0, 0, 0, 0])
    members = torch.tensor([[True, True], [False, True]])
    (quality,) = detector_quality(torch.stack([torch.ones(7), confidence], dim=1), members, labels)
    assert quality == pytest.approx({"expert": 2, "classes": 1, "auroc": 11 / 12, "fpr95": 0.25})


def test_a_perfect_and_a_reversed_detector():
    labels, members = torch.tensor([0, 0, 1, 1]), torch.tensor([[False, True]])
    good = detector_quality(torch.tensor([[0.1], [0.2], [0.8], [0.9]]), members, labels)[0]
    bad = detector_quality(torch.tensor([[0.9], [0.8], [0.2], [0.1]]), members, labels)[0]
    assert (good["auroc"], good["fpr95"]) == (1, 0) and (bad["auroc"], bad["fpr95"]) == (0, 1)


def test_a_detector_without_outsiders_or_without_own_images_is_left_out():
    members = torch.tensor([[True, True], [False, True]])
    assert detector_quality(torch.rand(3, 2), members, torch.tensor([0, 0, 0])) == []
    assert detector_quality(torch.rand(3, 2), members, torch.tensor([1, 1, 1])) == []


def fpr95_by_counting(scores, own):
    """Over all bars that let in at least 95 % of the own images: the smallest share of outsiders let in."""
    shares = []
    for bar in scores.unique():
        let_in = scores >= bar
        if let_in[own].double().mean() >= 0.95:
            shares.append(let_in[~own].double().mean().item())
    return min(shares)


@given(st.integers(0, 10_000), st.integers(5, 40))
def test_fpr95_is_what_counting_gives(seed, n):
    generator = torch.Generator().manual_seed(seed)
    scores, labels = torch.rand(n, generator=generator), torch.arange(n) % 2
    (quality,) = detector_quality(scores[:, None], torch.tensor([[False, True]]), labels)
    assert quality["fpr95"] == pytest.approx(fpr95_by_counting(scores, labels == 1))


def test_fpr95_with_ties_by_hand():
    """Twenty scores, an own image and an outsider at each: to let in 19 of 20 own ones, 19 of 20 outsiders."""
    scores, labels = torch.arange(20).repeat(2) / 20, torch.tensor([0] * 20 + [1] * 20)
    (quality,) = detector_quality(scores[:, None], torch.tensor([[False, True]]), labels)
    assert quality["fpr95"] == pytest.approx(0.95)


def report_with(per_class):
    none = {"many": None, "medium": None, "few": None}
    return Report("test", 4, 0.5, 0.5, 0.5, None, None, "groups", per_class, none, [0.5], none, none, [])


def test_a_report_survives_json(trained):
    for run in trained:
        report = run.report()
        assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_report_of_another_version_says_which_fields_differ():
    value = report_with([1.0]).to_json()
    del value["per_expert"]
    with pytest.raises(ValueError, match=r"\['new', 'per_expert'\]"):
        Report.from_json(value | {"new": 1})


def test_a_report_prints_its_numbers_and_the_rule_of_its_groups(trained):
    report = trained[0].report()
    text = str(report)
    assert f"{100 * report.overall:.1f}" in text and f"few {100 * report.few:.1f}" in text
    assert "thirds of the classes" in text and "200 images" in text


def test_an_unbalanced_set_is_called_so_and_the_mean_of_the_classes_comes_first():
    labels = torch.tensor([0] * 8 + [1] * 2 + [2, 3])
    p = torch.nn.functional.one_hot(labels, 4).float()
    p[8] = torch.tensor([1.0, 0, 0, 0])
    report = score(prediction_of(p), labels, GROUPS, ALL, "test")
    assert report.imbalance == 8
    said = " ".join(str(report).split())
    assert "12 images, unbalanced (its largest class has 8 times its smallest): mean of the classes 87.5 % (" in said
    assert max(map(len, str(report).splitlines())) <= 80


def test_shot_groups_have_their_intervals():
    """Of four images of few classes none is right: Wilson's interval of 0 of 4 ends at z² / (4 + z²) = 0.49."""
    labels = torch.tensor([0] * 6 + [2] * 2 + [3] * 4)
    report = score(prediction_of(sure_of([0] * 8 + [0] * 4)), labels, GROUPS, ALL, "test")
    assert report.intervals["few"] == pytest.approx((0, 1.959964**2 / (4 + 1.959964**2)), abs=1e-6)
    assert "few 0.0 % (0 to 49)" in " ".join(str(report).split()) and report.said("few") == "0.0 % (0 to 49)"
    # Of two bursts of two frames each it is that of 0 of 2.
    bursts = torch.tensor([*range(8), 8, 8, 9, 9])
    wide = score(prediction_of(sure_of([0] * 12)), labels, GROUPS, ALL, "test", together=bursts)
    assert wide.intervals["few"][1] == pytest.approx(1.959964**2 / (2 + 1.959964**2), abs=1e-6)
    none = score(prediction_of(sure_of([0, 2])), torch.tensor([0, 2]), GROUPS, ALL, "test")
    assert "few" not in none.intervals and none.said("few") == "–"


def test_groups_of_which_each_has_one_image_are_none():
    """Copies among training images have those of the test images counted as groups of one."""
    labels, p = torch.tensor([0, 1, 2, 3]), torch.eye(4)
    alone = score(prediction_of(p), labels, GROUPS, ALL, "test", together=torch.tensor([7, 3, 9, 0]))
    assert alone == score(prediction_of(p), labels, GROUPS, ALL, "test")
    pairs = score(prediction_of(p), labels, GROUPS, ALL, "test", together=torch.tensor([7, 3, 9, 3]))
    assert pairs.independent == [1, 1, 1, 1]
    said = " ".join(str(pairs).split())
    assert "groups of images that belong together (copies, or group_by)" in said
    # Of one image there is no telling of groups; and the other kind of groups has a name of its own.
    assert "1 image)" in said and "in about" not in said and "shot groups: " in said


def test_a_report_from_before_the_newer_measures_is_read():
    labels = torch.tensor([0, 1, 2, 3])
    p = torch.nn.functional.one_hot(labels, 4).float()
    value = score(prediction_of(p), labels, GROUPS, ALL, "test").to_json()
    older = ("worst", "harmonic", "macro_f1", "imbalance", "calibrated", "memorised")
    for name in (*older, "pictures", "independent", "intervals"):
        del value[name]
    assert Report.from_json(value).worst is None and str(Report.from_json(value)).startswith("test, 4 images: overall")
