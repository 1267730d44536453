"""Inputs that nobody wrote: sound lists, tables, grids and settings with pieces cut out, put in, doubled and swapped.

``python tests/fuzzing.py 25000`` tries so many of each kind, and shows those that are not taken or refused in one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

import dqroute as dq
from dqroute.sweep.grid import read_grid

SIGNS = [
    "\0",
    "\n",
    "\r",
    "\t",
    " ",
    ",",
    ";",
    ":",
    "'",
    '"',
    "/",
    "\\",
    "..",
    ".",
    "-",
    "#",
    "%",
    "é",
    "木",
    "\ufeff",
    "=",
]
SIGNS += [
    "0",
    "1",
    "-1",
    "9" * 30,
    "1e999",
    "nan",
    ".inf",
    "0x",
    "1_0",
    "true",
    "null",
    "~",
    "2001-99-99",
    "\u2028",
    "a" * 400,
]
SIGNS += [
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    "| ",
    "> ",
    "&a ",
    "*a",
    "<<: ",
    "!!python/object:os.system ",
    "!!set",
    "---\n",
    "@",
]
SIGNS += [
    "train",
    "test",
    "val",
    "path",
    "label",
    "split",
    "group",
    "seeds",
    "settings",
    "epochs",
    "experts",
    "backbone",
]
SIGNS += [
    "digits",
    "glyphs",
    "folder:x",
    "dqroute",
    "ride",
    "resnet8",
    "gradient-histograms",
    "timm:resnet18",
    "features",
]
BYTES = [sign.encode() for sign in SIGNS] + [b"\xff\xfe", b"\xff", b"\x80", b"\xed\xa0\x80", b"\x1f\x8b"]
REFUSALS = (ValueError, TypeError, FileNotFoundError, OSError)  # and no class of theirs that Python raises by itself

LIST = b"".join(b"%s/%d.png %d\n" % (name, i, label) for label, name in enumerate((b"oak", b"ash")) for i in (0, 2, 3))
TABLE = b"path,label,group,split\n" + b"".join(
    b"%s/%d.png,%s,cam%d,%s\n" % (name, i, name, i // 2, b"train" if i < 2 else b"test")
    for name in (b"oak", b"ash")
    for i in range(4)
)
GRID = b"""data: [digits, glyphs: {imbalance: 50}]
methods: [cross-entropy, dqroute: {alpha: 0.3}]
seeds: [0, 1]
settings: [{epochs: 2}, {epochs: 3, lr: 0.05}]
split: test
"""


def changed_bytes(random: Random, sound: bytes) -> bytes:
    """Some bytes with one to five changes, or none of them left."""
    if random.random() < 0.03:
        return random.randbytes(random.randrange(60))
    for _ in range(random.randint(1, 5)):
        start = random.randint(0, len(sound))
        end = min(len(sound), start + int(random.expovariate(0.1)))
        piece, put = sound[start:end], random.choice(BYTES)
        new = random.choice([b"", put, piece + piece, put + piece, piece[::-1], piece.swapcase(), piece * 30])
        sound = sound[:start] + new + sound[end:]
    return sound[: random.randint(0, len(sound))] if random.random() < 0.05 else sound


def odd_value(random: Random, depth: int = 0) -> Any:
    """What may stand in JSON."""
    plain = [None, True, False, 0, 1, -1, 3, 64, 10**9, 2**63, 10**400, 0.5, -2.5, 1e300, float("nan"), "", *SIGNS]
    if depth < 3 and random.random() < 0.3:
        inner = [odd_value(random, depth + 1) for _ in range(random.randrange(4))]
        return inner if random.random() < 0.5 else {random.choice(SIGNS): value for value in inner}
    return random.choice(plain)


def changed_settings(random: Random, sound: bytes) -> bytes:
    """A JSON file with one to four values changed, moved or taken out, seldom its bytes."""
    if random.random() < 0.2:
        return changed_bytes(random, sound)
    value = json.loads(sound)
    for _ in range(random.randint(1, 4)):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = random.choice(keys)
            if isinstance(place[key], (dict, list)) and random.random() < 0.7:
                place = place[key]
            elif random.random() < 0.3:
                del place[key]
                break
            else:
                place[key] = odd_value(random)
                break
    return json.dumps(value).encode()


class Inputs:
    """Where inputs of a kind are tried: a folder with pictures, and perhaps a run."""

    def __init__(self, folder: Path, run: dq.Run | None = None) -> None:
        self.folder = folder
        for number, name in enumerate(("oak", "ash")):
            (folder / name).mkdir()
            for i in range(4):
                pixels = np.random.default_rng(4 * number + i).integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i}.png")
        (folder / "test.txt").write_text("oak/1.png 0\nash/1.png 1\n")
        self.settings = run.folder / "settings.json" if run else None
        kinds: dict[str, tuple[bytes, Callable[[Random, bytes], bytes], Path, Callable[[Path], Any]]] = {
            "lists": (LIST, changed_bytes, folder / "train.txt", self.load_list),
            "tables": (TABLE, changed_bytes, folder / "table.csv", lambda file: dq.load(f"table:{file}", size=4)),
            "grids": (GRID, changed_bytes, folder / "grid.yaml", read_grid),
        }
        if self.settings:
            sound = self.settings.read_bytes()
            kinds["settings"] = sound, changed_settings, self.settings, lambda file: dq.Run(file.parent).model
        self.kinds = kinds

    def load_list(self, file: Path) -> Any:
        return dq.load("list", root=self.folder, lists={"train": file, "test": self.folder / "test.txt"}, size=4)

    def tried(self, kind: str, number: int, seed: int) -> tuple[Counter[str], list[str]]:
        """Try so many inputs of a kind: how many were taken, and refused; and what came of any that were neither."""
        wrong = list[str]()
        random, ends = Random(f"{kind} {seed}"), Counter[str]()
        sound, change, file, take = self.kinds[kind]
        for _ in range(number):
            content = change(random, sound)
            file.write_bytes(content)
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                try:
                    take(file)
                    ends["taken"] += 1
                except Exception as error:
                    said = str(error)
                    clear = type(error) in REFUSALS and said and len(said.splitlines()) == 1 and len(said) < 2500
                    if not clear:
                        wrong.append(f"{type(error).__name__}: {said[:300]!r} for {content!r}")
                    ends["refused"] += 1
        file.write_bytes(sound)
        return ends, wrong


if __name__ == "__main__":
    torch.set_num_threads(1)
    from training import QUICK, make_tiny

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "inputs"
        folder.mkdir()
        run = dq.fit("dqroute", make_tiny(), epochs=1, runs_dir=Path(place) / "runs", **QUICK)
        inputs = Inputs(folder, run)
        for kind in sys.argv[2:] or inputs.kinds:
            ends, wrong = inputs.tried(kind, int(sys.argv[1]), seed=1)
            print(kind, dict(ends), len(wrong), "wrong", *wrong[:40], sep="\n", flush=True)
