"""Images in a row, and in a triangle in the colours of their groups."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from drawn import legend_texts
from matplotlib.colors import same_color
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from dqroute import show


@pytest.mark.parametrize("number", [0, 1, 3])
def test_images_stand_in_a_row_that_wraps_each_with_a_caption_and_an_alternative_text(tiny, number):
    names = ["a <b>, or c?", "US$ & A$", "50 %"][:number]
    row = BeautifulSoup(show.image_row(tiny.train.images[:number], names, high=100).data, "html.parser")
    assert "flex-wrap: wrap" in row.div["style"]
    assert [tile.figcaption.text.replace("\xa0", " ") for tile in row.select("figure")] == names
    images = row.select("figure > img")
    assert [image["alt"] for image in images] == names and all("height: 100px" in image["style"] for image in images)
    sources = [base64.b64decode(image["src"].partition("base64,")[2]) for image in images]
    for source, image in zip(sources, tiny.train.images, strict=False):
        assert (np.array(Image.open(io.BytesIO(source))) == image[0].numpy()).all()


def test_a_row_of_images_has_no_colour_of_its_own_and_a_caption_each(tiny):
    row = re.sub('src="[^"]*"', "", show.image_row(tiny.train.images[:1], "a").data)
    assert not re.search("#|rgb|white|black", row)
    with pytest.raises(ValueError, match="shorter|longer"):
        show.image_row(tiny.train.images[:2], "a")


WEIGHTS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])


def test_simplex_has_an_expert_at_each_corner_and_equal_weights_in_the_middle(tiny):
    (ax,) = show.simplex(WEIGHTS, torch.tensor([0, 1, 2, 0]), tiny.train.images[:4]).axes
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
