"""Figures whose points answer: the points are where the figure has them, and hold their own pictures."""

import base64
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from dqroute.show.pointing import hover

PLACES = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 4.0]])
IMAGES = torch.arange(3 * 3 * 4 * 4).reshape(3, 3, 4, 4).to(torch.uint8)
SENTENCES = ["first", 'second "quoted" & <b>', "third </script>"]


def made(places=PLACES, images=IMAGES, sentences=SENTENCES):
    figure, ax = plt.subplots(figsize=(4, 2), layout="constrained")
    ax.plot(*PLACES.T.tolist(), "o", gid="points")
    ax.set(xlabel="x", ylabel="y")
    return hover(figure, places, images, sentences, "three points", "point")


def points_of(html):
    soup = BeautifulSoup(html, "html.parser")
    return json.loads(soup.find("script", type="application/json").text), soup


def test_points_lie_where_the_drawing_has_them():
    """The markers of the SVG stand in its own coordinates; as shares of its size they are the points' places."""
    points, soup = points_of(made()._repr_html_())
    width, height = (float(v) for v in soup.svg["viewbox"].split()[2:])
    markers = soup.svg.find(id="points") or soup.svg
    drawn = [(float(u["x"]) / width, float(u["y"]) / height) for u in markers.find_all("use", style=True)]
    found = [tuple(point[:2]) for point in points]
    for place in found:
        assert min(np.hypot(place[0] - x, place[1] - y) for x, y in drawn) < 0.005
    assert found[0][0] < found[2][0] < found[1][0] and found[0][1] > found[1][1] > found[2][1]


def test_each_point_holds_its_own_picture_and_sentence():
    points, soup = points_of(made()._repr_html_())
    assert [point[3] for point in points] == SENTENCES
    for (_, _, address, _), image in zip(points, IMAGES, strict=True):
        pixels = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        np.testing.assert_array_equal(np.asarray(pixels), image.permute(1, 2, 0).numpy())
    assert soup.select_one(".hover-answer").text == "first"
    assert soup.svg["aria-label"] == "three points"


def test_grey_images_stay_grey():
    points, _ = points_of(made(images=IMAGES[:, :1])._repr_html_())
    pixels = Image.open(io.BytesIO(base64.b64decode(points[1][2].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(pixels), IMAGES[1, 0].numpy())


def test_no_sentence_ends_the_script_early_and_two_figures_differ_in_name():
    html, other = made()._repr_html_(), made(sentences=["a", "b", "c"])._repr_html_()
    assert html.count("</script>") == 2
    names = [re.search(r'class="hover" id="([^"]+)"', page)[1] for page in (html, other)]
    assert names[0] != names[1] and html == made()._repr_html_()


@pytest.mark.parametrize("wrong", [{"sentences": ["a"]}, {"images": IMAGES[:2]}, {"places": PLACES[:0]}])
def test_points_without_image_or_sentence_are_refused(wrong):
    with pytest.raises(ValueError, match="each with an image and a sentence"):
        made(**wrong)


def test_a_sentence_may_open_what_looks_like_a_script():
    """After "<!--<script" a browser passes over the script's end."""
    page = made(sentences=["<!--<script>", "b", "c"])._repr_html_()
    inside = page.partition('<script type="application/json">')[2].partition("</script>")[0]
    assert "<" not in inside and json.loads(inside)[0][3] == "<!--<script>"
