"""Large sets: what stays in memory does not grow with the images, and thousands of classes go through every step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from photos import save_picture

import dqroute as dq
from dqroute.data import load

LOAD = """
import sys
from pathlib import Path
import torch
from dqroute.data import FileSplit, load
from dqroute.data.files.sizes import size_of

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

root = Path(sys.argv[1])
import dqroute.data.files.sizes as file_sizes
file_sizes.size_of = lambda file: 1000  # a tree of so many files would take a minute to make
load(f"list:{root}", lists=root / "short", size=224, stream=True)  # whatever is imported or started the first time
before = resident()
data = load(f"list:{root}", size=224, stream=True)
data.fingerprint()
assert len(data.train) == 500_000 and isinstance(data.train, FileSplit)
print(resident() - before)
"""


def write_list(file, number, part, classes):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{part}/class {i % classes:04}/{i:08}.jpg {i % classes}\n" for i in range(number)))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read where Linux tells it")
def test_half_a_million_images_take_the_memory_of_their_names(tmp_path):
    """A name of 29 bytes, its end and its label, 8 each, in the set; about as much again may be left of the loading.
    As strings and paths they would take over 200 MB."""
    for folder, number in ((tmp_path, 500_000), (tmp_path / "short", 2_000)):
        write_list(folder / "train.txt", number, "train", 1000)
        write_list(folder / "test.txt", 1000, "test", 1000)
    environment = os.environ | {"PYTHONPATH": str(Path(dq.__file__).parents[1])}
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 80


def test_as_many_classes_as_inaturalist_has(tmp_path, runs_dir, quick):
    """8,142 classes of one or two training images and one test image; a picture each of a few, by links."""
    classes, pictures = 8142, [tmp_path / f"{index}.png" for index in range(3)]
    for index, picture in enumerate(pictures):
        save_picture(picture, 8, 8, index)
    lines = {
        "train": [(c, i) for c in range(classes) for i in range(1 + (c < 1000))],
        "test": [(c, 9) for c in range(classes)],
    }
    for part, members in lines.items():
        folder = tmp_path / part
        folder.mkdir()
        for c, i in members:
            os.symlink(pictures[(c + i) % 3], folder / f"{c}-{i}.png")
        (tmp_path / f"{part}.txt").write_text("".join(f"{part}/{c}-{i}.png {c}\n" for c, i in members))
    data = load(f"list:{tmp_path}")
    assert data.num_classes == classes and data.groups.rule == "thirds"
    assert torch.equal(data.counts, torch.tensor([2] * 1000 + [1] * (classes - 1000)))
    run = dq.fit("dqroute", data, epochs=1, runs_dir=runs_dir, **quick | {"batch_size": 512})
    report = dq.evaluate(run, device="cpu")
    assert report.images == classes == len(report.per_class) and len(report.detectors) == 2
