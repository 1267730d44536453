"""From files to a set: in memory where it fits, and left in its files where not."""

import pytest
from photos import save_picture

from dqroute.data import FileSplit, load
from dqroute.data.files import listing


def test_a_set_is_left_in_its_files_when_it_does_not_fit_into_memory(photo_tree, monkeypatch):
    """19 images of 24x24 take 32,832 bytes."""
    for limit, streamed in ((32_832, False), (32_831, True)):
        monkeypatch.setattr(listing, "MEMORY_LIMIT", limit)
        data = load(f"folder:{photo_tree}", size=24)
        assert isinstance(data.train, FileSplit) == isinstance(data.test, FileSplit) == streamed
        assert type(data.augmentation).__name__ == ("ResizedCrop" if streamed else "Augmentation")
        assert data.identity == load(f"folder:{photo_tree}", size=24, stream=streamed).identity
    with pytest.raises(ValueError, match="19 images of 24x24 pixels .* pass size=23 or less, or stream=True"):
        load(f"folder:{photo_tree}", size=24, stream=False)
    assert not isinstance(load(f"folder:{photo_tree}", size=23, stream=False).train, FileSplit)


def test_only_what_differs_tells_the_identities_apart(photo_tree):
    streamed, held = (load(f"folder:{photo_tree}", size=24, stream=stream) for stream in (True, False))
    assert streamed.identity == held.identity | {"stream": True}


def test_a_streamed_set_takes_the_side_of_square_images_unless_told(tmp_path):
    for part in ("train", "test"):
        for index in range(2):
            save_picture(tmp_path / part / f"class {index}" / "a.png", 20, 20)
    data = load(f"folder:{tmp_path}", stream=True)
    assert data.shape == (3, 20, 20)
