"""Pieces of HTML: escaped, in the page's colours, and pictures that are small."""

import base64
import io
import re

import pytest
import torch
from PIL import Image

from dqroute.data.markup import box, line, number_of, picture, table


def test_names_are_no_markup():
    bad = '<script>"&'
    for made in (
        box(bad, line(bad)),
        table([(bad, 3)], (bad, "n")),
        picture(torch.zeros(1, 4, 4, dtype=torch.uint8), bad),
    ):
        assert "<script" not in made and "&lt;script&gt;&quot;&amp;" in made


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (1, "classes", "1 class"),
        (2000, "classes", "2,000 classes"),
        (1, "files that are no pictures are left out", "1 file that is no picture is left out"),
        (0, "files are left out", "0 files are left out"),
        (1, "pictures lie deeper in their class's folder", "1 picture lies deeper in its class's folder"),
        (1, "rows say again what others said", "1 row says again what others said"),
    ],
)
def test_of_one_the_words_are_those_of_one(number, what, said):
    assert number_of(number, what) == said


def test_a_table_names_its_rows_or_its_columns():
    by_rows, by_columns = table([("a", 1), ("b", 2)]), table([(1, 2)], ("a", "b"))
    assert by_rows.count('scope="row"') == 2 and by_rows.count("<td") == 2 and "<thead" not in by_rows
    assert by_columns.count('scope="col"') == 2 and by_columns.count("<td") == 2


def test_nothing_has_a_colour_of_its_own():
    made = box("a", line("b"), table([("c", 1)]))
    assert not re.search(r"#[0-9a-f]{3}|rgb|white(?!-space)|black", made)


@pytest.mark.parametrize(("shape", "kind"), [((1, 8, 8), "PNG"), ((3, 64, 32), "PNG"), ((3, 600, 900), "JPEG")])
def test_a_picture_holds_its_bytes_and_no_more_than_a_screen_shows(shape, kind):
    made = picture(torch.randint(0, 256, shape, dtype=torch.uint8), "a cat")
    image = Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]+)"', made)[1])))
    assert image.format == kind and image.height <= 128 and 'alt="a cat"' in made
    if kind == "PNG":
        assert image.size == (shape[2], shape[1])
    assert len(made) < 30_000
