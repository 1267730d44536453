"""Long lists of files: order kept, a few tasks, and memory that grows by little a file."""

import gc
import tracemalloc

import pytest
from PIL import Image

from dqroute.data import load
from dqroute.data.files.reading import each


def test_answers_come_in_order_and_errors_come_through():
    assert list(each(lambda n: n * n, range(1000), threads=4, together=7)) == [n * n for n in range(1000)]
    assert list(each(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(each(lambda n: 1 / n, [1, 0]))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders of ten classes with a table beside them, by how many pictures there are."""
    made = {}
    for number in (200, 8000, 24_000):
        made[number] = place = tmp_path_factory.mktemp(f"{number}")
        rows = ["path,label,group"]
        for i in range(number):
            file = place / f"class {i % 10}" / f"{i:05}.bmp"
            if i < 10:
                file.parent.mkdir()
                Image.new("RGB", (4, 4)).save(file)
                content = bytearray(file.read_bytes())
            content[-6:-2] = i.to_bytes(4, "big")
            file.write_bytes(content)
            rows.append(f"class {i % 10}/{file.name},class {i % 10},camera {i // 8}")
        (place / "table.csv").write_text("\n".join(rows))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "table"])
def test_memory_grows_by_little_a_file(places, kind):
    """A task a file, say, would take some thousand bytes each."""
    peak = {}
    # The first loads take what modules and readers take once.
    for number, place in places.items():
        # Python looks for cycles the more seldom the more there is; what other tests left is not to count.
        gc.collect()
        gc.freeze()
        gc.collect()  # which counts what there is anew
        tracemalloc.start()
        data = load(f"folder:{place}" if kind == "folder" else place / "table.csv", size=4, stream=True)
        peak[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.unfreeze()
        assert len(data.train) + len(data.test) == number
    assert (peak[24_000] - peak[8000]) / 16_000 < 1500
