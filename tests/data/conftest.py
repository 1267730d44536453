"""What the tests of image sets share."""

import pytest
from photos import save_picture


@pytest.fixture
def photo_tree(tmp_path):
    """JPEG files of many sizes in two classes of 9 and 4 training and 3 test images each, with odd names."""
    root, seed = tmp_path / "photos", 0
    for part, counts in (("train", (9, 4)), ("test", (3, 3))):
        for name, count in zip(("ленивая кошка 猫", "a dog"), counts, strict=True):
            for index in range(count):
                seed += 1
                save_picture(
                    root / part / name / f"picture {index}.JPG", 40 + 7 * seed, 120 - 5 * seed, seed, quality=90
                )
    return root
