"""How hard each glyph class is when no class is rare.

Measured on balanced data by a classifier of another family than anything the book trains: histograms of gradient
directions and linear discriminant analysis, which knows neither networks nor gradient descent nor counts. Run
``python tools/glyph_difficulty.py`` to make the file beside this module again.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from dqroute.data.sets import glyph_rendering as glyphs
from dqroute.data.sets.glyph_rendering import CHARACTERS
from dqroute.models.gradients import GradientHistograms

COMMAND = "python tools/glyph_difficulty.py"
FILE = Path(glyphs.__file__).with_name("glyph_difficulty.json")


def measure(train_per_class: int = 100, test_per_class: int = 400, size: int = 32) -> Tensor:
    """The error rate of each class, float64 ``[C]``, trained and tested on balanced images in disjoint typefaces."""

    def balanced(per_class: int, key: str, typefaces: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        labels = torch.arange(len(CHARACTERS)).repeat_interleave(per_class)
        return glyphs.render(labels, glyphs.draw_nuisances(per_class, key).flatten(0, 1), typefaces, size), labels

    train, train_labels = balanced(train_per_class, "difficulty train", glyphs.TRAIN_TYPEFACES)
    test, test_labels = balanced(test_per_class, "difficulty test", glyphs.TEST_TYPEFACES)
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    classifier.fit(gradient_histograms(train).numpy(), train_labels.numpy())
    predicted = torch.from_numpy(classifier.predict(gradient_histograms(test).numpy()))
    return (predicted != test_labels).view(len(CHARACTERS), -1).double().mean(1)


def gradient_histograms(images: Tensor) -> Tensor:
    """Histograms of gradient directions, float32 ``[N, D]``, of uint8 ``[N, 1, H, W]``."""
    return torch.cat([GradientHistograms()(part) for part in images.split(2048)])


def document(errors: Tensor, train_per_class: int, test_per_class: int, size: int) -> dict[str, Any]:
    """The measurement with everything needed to judge and repeat it, JSON-ready."""
    return {
        "measure": "error rate of each class, balanced training and test sets, disjoint typefaces",
        "classifier": "gradient histograms (4-pixel cells, 8 directions) and linear discriminants (shrinkage 0.1)",
        "command": COMMAND,
        "rendering_version": glyphs.VERSION,
        "train_per_class": train_per_class,
        "test_per_class": test_per_class,
        "size": size,
        "versions": {name: version(name) for name in ("torch", "scikit-learn", "pillow", "matplotlib")}
        | {"python": platform.python_version()},
        "accuracy": round(1 - errors.mean().item(), 4),
        "error": {name: round(error, 4) for name, error in zip(CHARACTERS, errors.tolist(), strict=True)},
    }


def main() -> None:
    """Measure and write the file."""
    sizes = {"train_per_class": 100, "test_per_class": 400, "size": 32}
    errors = measure(**sizes)
    FILE.write_text(json.dumps(document(errors, **sizes), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    ranked = [CHARACTERS[c] for c in errors.argsort(descending=True, stable=True).tolist()]
    print(f"accuracy {1 - errors.mean().item():.3f}; hardest {' '.join(ranked[:15])}; easiest {' '.join(ranked[-15:])}")
    print(f"wrote {FILE.name}")


if __name__ == "__main__":
    main()
