"""Figures that show images: in the colours of their groups and experts, with what was said of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import legend_texts
from matplotlib.colors import same_color, to_hex
from matplotlib.offsetbox import AnnotationBbox

import dqroute as dq
from dqroute import show
from dqroute.core.long_tail import shot_groups
from dqroute.data.image_set import ImageSet, Split
from dqroute.runs.explain import Explanation, Opinion


def test_examples_show_every_group_in_its_colour(tiny):
    figure = show.examples(tiny, per_group=4)
    figure.canvas.draw()
    assert [ax.get_xlabel() for ax in figure.axes] == ["many", "medium", "few"]
    for ax, name in zip(figure.axes, ("many", "medium", "few"), strict=True):
        assert ax.images[0].get_array().shape[:2] == (16, 16)
        assert all(same_color(spine.get_edgecolor(), show.GROUP_COLOURS[name]) for spine in ax.spines.values())


def test_examples_are_the_same_by_seed_and_take_colour_images(tiny):
    pictures = [show.examples(tiny, seed=seed).axes[0].images[0].get_array() for seed in (0, 0, 1)]
    assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()
    colour = replace(
        tiny,
        train=Split(tiny.train.images.repeat(1, 3, 1, 1), tiny.train.labels),
        test=Split(tiny.test.images.repeat(1, 3, 1, 1), tiny.test.labels),
        val=None,
    )
    assert show.examples(colour).axes[0].images[0].get_array().shape[2] == 3


def test_examples_of_a_set_with_an_empty_group(tiny):
    """As the rule "shots" leaves CIFAR-10-LT; here no class has more than 100 images."""
    empty = ImageSet(**(vars(tiny) | {"groups": shot_groups(tiny.counts, "shots")}))
    assert empty.groups.many == ()
    show.class_counts(empty)
    show.examples(empty)


def test_examples_of_features_are_the_pictures_that_they_were_made_of(tiny):
    seen = dq.load("glyphs", imbalance=10, n_max=20, size=16, test_per_class=2, backbone="gradient-histograms")
    same = dq.load("glyphs", imbalance=10, n_max=20, size=16, test_per_class=2)
    drawn = [show.examples(data).axes[0].images[0].get_array() for data in (seen, same)]
    assert (drawn[0] == drawn[1]).all()


def test_examples_in_an_odd_number(tiny):
    figure = show.examples(tiny, per_group=5)
    assert [image.get_array().shape for ax in figure.axes for image in ax.images] == [(16, 24)] * 3


def test_examples_take_no_more_room_than_there_are_classes(tiny):
    """Four classes of many, three of the others: a row of four each, not two of six."""
    assert [image.get_array().shape for ax in show.examples(tiny).axes for image in ax.images] == [(8, 32)] * 3


@pytest.mark.parametrize("number", [1, 3])
def test_a_row_of_images_has_captions_and_frames(tiny, number):
    figure = show.image_row(tiny.train.images[:number], list("abc")[:number], ["red", "blue", "red"][:number])
    assert [ax.get_xlabel() for ax in figure.axes] == list("abc")[:number]
    assert [to_hex(ax.spines["left"].get_edgecolor()) for ax in figure.axes] == ["#ff0000", "#0000ff", "#ff0000"][
        :number
    ]


def test_an_explanation_shows_what_each_expert_says_and_the_fused_answer(trained, tiny):
    image = tiny.test.images[33]
    told = dq.explain(trained[1], image)
    left, middle, right = show.explanation(image, told).axes
    assert left.images[0].get_array().shape == (8, 8)
    assert [bar.get_width() for bar in middle.patches] == pytest.approx([100 * o.weight for o in told.experts])
    marks = [line.get_xdata()[0] for line in middle.lines]
    assert marks == pytest.approx([100 * o.confidence for o in told.experts])
    for k, (bar, label) in enumerate(zip(middle.patches, middle.get_yticklabels(), strict=True)):
        assert same_color(bar.get_facecolor(), show.EXPERT_COLOURS[k])
        assert f"expert {k + 1}: {told.experts[k].says}, " in label.get_text()
    assert [label.get_text() for label in right.get_yticklabels()] == [name for name, _ in told.ranking]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([100 * share for _, share in told.ranking])


def test_class_names_are_text_and_no_formulas(tiny):
    show.image_row(tiny.train.images[:2], [r"x$\foo$", "US$ and A$"]).draw_without_rendering()
    opinions = [Opinion(1, 10, "a$_$b", 0.6, 0.9, 0.5), Opinion(2, 10, "a$_$b", 0.6, 1.0, 0.5, gaussian=True)]
    told = Explanation("price $5_to_$10", 0.9, [("price $5_to_$10", 0.9), (r"x$\foo$", 0.1)], opinions)
    figure = show.explanation(tiny.train.images[0], told)
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()][1] == "the Gaussian: a$_$b, 60 %"


WEIGHTS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])


def test_simplex_has_an_expert_at_each_corner_and_equal_weights_in_the_middle():
    (ax,) = show.simplex(WEIGHTS, torch.tensor([0, 1, 2, 0])).axes
    named = {text.get_text(): text.xy for text in ax.texts}
    drawn = {line.get_label(): np.array([line.get_xdata(), line.get_ydata()]).T for line in ax.lines}
    assert drawn["many"][0] == pytest.approx(named["expert 1"])
    assert drawn["medium"][0] == pytest.approx(named["expert 2"])
    assert drawn["few"][0] == pytest.approx(named["expert 3"])
    assert drawn["many"][1] == pytest.approx(np.mean(list(named.values()), axis=0))
    assert same_color(ax.lines[2].get_color(), show.GROUP_COLOURS["few"])
    assert legend_texts(ax.get_legend()) == ["many", "medium", "few"]


def test_simplex_draws_images_where_there_is_room(tiny):
    """Each of the five has its point; the last has no picture, because the first one's is there."""
    weights = torch.cat([WEIGHTS, WEIGHTS[:1]])
    (ax,) = show.simplex(weights, torch.tensor([0, 1, 2, 0, 2]), tiny.train.images[:5]).axes
    boxes = [artist for artist in ax.artists if isinstance(artist, AnnotationBbox)]
    assert [tuple(box.xy) for box in boxes] == [pytest.approx(tuple(text.xy)) for text in ax.texts] + [
        pytest.approx((0.5, 3**0.5 / 6))
    ]
    frames = [box.patch.get_edgecolor() for box in boxes]
    wanted = [show.GROUP_COLOURS[name] for name in ("many", "medium", "few", "many")]
    assert all(same_color(frame, colour) for frame, colour in zip(frames, wanted, strict=True))
    assert (boxes[0].offsetbox.get_data() == tiny.train.images[0, 0].numpy()).all()
    drawn = {line.get_label(): np.array([line.get_xdata(), line.get_ydata()]).T for line in ax.lines}
    few = show.simplex_places(weights)[[2, 4]]
    np.testing.assert_allclose(drawn["few"], few, rtol=1e-6)
