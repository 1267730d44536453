"""The rendered characters: what they are, what decides them, and how rarity is tied to difficulty."""

import json

import pytest
import torch
from glyph_difficulty import COMMAND, FILE, document, gradient_histograms, measure
from sklearn.metrics import roc_auc_score

from dqroute.data import load
from dqroute.data.sets import glyph_rendering as rendering
from dqroute.data.sets.glyphs import order_by_difficulty, true_difficulty

SMALL = {"n_max": 20, "test_per_class": 3, "imbalance": 4}
NAMES = rendering.CHARACTERS


def spearman(a, b):
    ranks = torch.stack([torch.as_tensor(x).double().argsort(stable=True).argsort().double() for x in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()


def test_the_default_set_has_the_field_s_numbers():
    data = load("glyphs")
    assert (len(data.train), len(data.test), data.shape) == (10_847, 10_000, (1, 32, 32))
    assert sorted(data.counts.tolist(), reverse=True)[::99] == [500, 5]
    assert torch.bincount(data.test.labels).tolist() == [100] * 100
    assert [len(data.groups[name]) for name in ("many", "medium", "few")] == [35, 35, 30]
    assert data.augmentation.flip is False
    json.dumps(data.identity)


def test_there_are_100_different_characters():
    assert len(set(NAMES)) == 100
    assert not set(rendering.TRAIN_TYPEFACES) & set(rendering.TEST_TYPEFACES)


def test_every_character_has_typefaces_to_train_on_and_one_held_out():
    for typefaces, least in ((rendering.TRAIN_TYPEFACES, 8), (rendering.TEST_TYPEFACES, 2)):
        masks, spans = rendering.masks(typefaces, 64)
        assert spans[:, 1].min() >= least
        assert spans[:, 1].sum() == len(masks)
        assert (masks[:, 0].flatten(1).max(1).values == 255).all()
        # Nothing is cut off at the border.
        assert masks[:, 0, 0].max() == masks[:, 0, -1].max() == masks[:, 0, :, 0].max() == masks[:, 0, :, -1].max() == 0
        assert (masks[:, 1] >= masks[:, 0]).all()


def test_typefaces_are_used_only_for_characters_they_have():
    """Computer Modern has no Greek in its text faces, and its italic a pound in the dollar's place."""
    _, spans = rendering.masks(("cmr10", "DejaVuSans", "cmti10"), 32, "$αA")
    assert spans[:, 1].tolist() == [2, 1, 3]


def test_other_characters_than_the_classes_can_be_drawn():
    """Drawn as the classes are: where a character is one of them, to the same pixels."""
    nuisances = rendering.draw_nuisances(2, "x")[:4].flatten(0, 1)
    labels = torch.arange(4).repeat_interleave(2)
    usual = rendering.render(labels, nuisances, rendering.TEST_TYPEFACES, 16)
    other = rendering.render(labels, nuisances, rendering.TEST_TYPEFACES, 16, "0Ж2Я")
    same = (usual == other).flatten(1).all(1)
    assert same.tolist() == [True, True, False, False, True, True, False, False]


def test_a_character_that_no_typeface_has_is_named():
    with pytest.raises(ValueError, match="cmr10 has the character 'Ж'"):
        rendering.masks(("cmr10",), 32, "aЖ")


def test_a_missing_typeface_is_named():
    with pytest.raises(FileNotFoundError, match="no typeface Comic"):
        rendering.typeface_file("Comic")


def test_seeds_decide_the_training_images_and_nothing_touches_the_test_images():
    base, again = load("glyphs", **SMALL), load("glyphs", **SMALL)
    assert base.fingerprint() == again.fingerprint()
    other = load("glyphs", **SMALL | {"imbalance": 2, "n_max": 30}, seed=1, val=0.2)
    assert torch.equal(base.test.images, other.test.images)
    a, b = load("glyphs", **SMALL | {"imbalance": None}), load("glyphs", **SMALL | {"imbalance": None}, seed=1)
    assert torch.equal(a.train.labels, b.train.labels)
    assert (a.train.images != b.train.images).flatten(1).any(1).all()


def test_a_stronger_imbalance_keeps_a_part_of_the_same_images():
    options = SMALL | {"difficulty_correlation": None}
    weak, strong = (load("glyphs", **options | {"imbalance": factor}) for factor in (1, 4))
    known = {image.numpy().tobytes() for image in weak.train.images}
    assert {image.numpy().tobytes() for image in strong.train.images} < known
    assert strong.counts.tolist() == sorted(strong.counts.tolist(), reverse=True)


def test_validation_images_come_from_the_training_typefaces_pool():
    whole = load("glyphs", **SMALL)
    part = load("glyphs", **SMALL, val=0.25)
    assert len(part.train) + len(part.val) == len(whole.train)
    pixels = [image.numpy().tobytes() for split in (part.train, part.val) for image in split.images]
    assert sorted(pixels) == sorted(image.numpy().tobytes() for image in whole.train.images)
    assert part.groups == whole.groups


def test_images_of_a_class_do_not_depend_on_how_many_are_drawn():
    few, many = rendering.draw_nuisances(2, "x"), rendering.draw_nuisances(5, "x")
    assert torch.equal(few, many[:, :2])


def test_rendering_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(IndexError):
            rendering.render(torch.tensor([0]), torch.rand(1, 2), rendering.TEST_TYPEFACES, 32)
        rendering.render(torch.tensor([0]), torch.rand(1, rendering.NUISANCES), rendering.TEST_TYPEFACES, 32)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_strokes_are_light_and_grounds_dark():
    images = load("glyphs", **SMALL).test.images.float().flatten(1)
    assert (images.quantile(0.4, dim=1) < 100).all()
    assert (images.quantile(0.99, dim=1) > 120).all()


@pytest.mark.parametrize("size", [16, 48])
def test_other_sizes(size):
    data = load("glyphs", **SMALL, size=size)
    assert data.shape == (1, size, size)
    assert data.augmentation.padding == size // 16


@pytest.mark.parametrize("target", [-1, -0.5, 0, 0.3, 0.7, 1])
def test_the_dial_sets_the_rank_correlation_of_rarity_and_difficulty(target):
    difficulty = true_difficulty()
    for seed in range(20):
        order = order_by_difficulty(difficulty, target, seed)
        rarity = torch.empty(100)
        rarity[order] = torch.arange(100.0)
        assert spearman(rarity, difficulty) == pytest.approx(target, abs=0.15)
    assert order.tolist() != order_by_difficulty(difficulty, target, 0).tolist() or abs(target) == 1


def test_the_dial_reaches_the_counts_and_leaves_the_labels():
    hard, easy = (load("glyphs", **SMALL, difficulty_correlation=rho) for rho in (1, -1))
    assert hard.counts[hard.true_difficulty.argmax()] == 5
    assert easy.counts[easy.true_difficulty.argmax()] == 20
    assert hard.class_names == easy.class_names == NAMES
    assert hard.identity != easy.identity


def test_values_out_of_range():
    with pytest.raises(ValueError, match="from -1 .* to 1 .*; got 1.5"):
        load("glyphs", difficulty_correlation=1.5)
    for option, value in (("n_max", 0), ("test_per_class", 0), ("size", 7)):
        with pytest.raises(ValueError, match=f"{option} of glyphs must be a whole number of at least"):
            load("glyphs", **{option: value})


def test_the_shipped_difficulty_belongs_to_this_rendering():
    shipped = json.loads(FILE.read_text(encoding="utf-8"))
    assert shipped["rendering_version"] == rendering.VERSION
    assert shipped["command"] == COMMAND
    assert set(shipped["error"]) == set(NAMES)
    assert set(shipped) == set(document(true_difficulty(), 1, 1, 32))
    assert shipped["accuracy"] == pytest.approx(1 - sum(shipped["error"].values()) / 100, abs=1e-3)


def test_look_alikes_are_harder_than_the_rest():
    lookalikes = set("O0Θ" + "l1Ii" + "vν" + "Ss" + "cC" + "pρ" + "wω")
    is_lookalike = [name in lookalikes for name in NAMES]
    assert roc_auc_score(is_lookalike, true_difficulty()) > 0.65
    hardest = {NAMES[c] for c in true_difficulty().argsort(descending=True)[:12].tolist()}
    assert {"I", "Θ", "ν", "1", "l"} <= hardest


def test_gradient_histograms_tell_directions_apart():
    edge = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    edge[0, :, :, 4:] = 200  # grows to the right: direction 0
    edge[1, :, 4:, :] = 200  # grows downwards: direction 2 of 8
    features = gradient_histograms(edge).view(2, 8, -1).square().sum(2)
    assert features.argmax(1).tolist() == [0, 2]
    assert features.sum(1).tolist() == pytest.approx([1, 1])


@pytest.mark.slow
def test_a_smaller_measurement_agrees_with_the_shipped_one():
    again = measure(train_per_class=60, test_per_class=150)
    assert spearman(again, true_difficulty()) >= 0.8
