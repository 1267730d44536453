"""Makes the photographs that come with the package: features of CIFAR-100 by the bundled backbone, eight bits a number.

``python tools/photograph_features.py PATH`` reads ``PATH/train/<class>/*`` and ``PATH/test/<class>/*``: CIFAR-100 as
image files, the training part thinned so that class c keeps ``int(500 * 10 ** (-c / 99))`` images. From that pool any
profile of imbalance 10 or more can be drawn. Only features are kept: no picture can be made from them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from dqroute import load
from dqroute.data.disk import write_tensors
from dqroute.data.feature_set import features
from dqroute.data.image_set import FeatureSplit
from dqroute.data.sets.photographs import FILE

RANGE = 4.0  # deviations of a component that the 127 steps to either side span


def main() -> None:
    """Read the pictures, compute what is not in the cache, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, metavar="PATH")
    parser.add_argument("--output", type=Path, default=FILE)
    chosen = parser.parse_args()
    data = features(load(f"folder:{chosen.pictures}", groups="thirds"))
    encoding, train, test = data.encoding, data.train, data.test
    assert encoding is not None and isinstance(train, FeatureSplit) and isinstance(test, FeatureSplit)
    step = train.features.std(dim=0) * RANGE / 127
    axes_step = encoding.axes.abs().amax(dim=0) / 127
    tensors = {
        "train": eight_bits(train.features, step),
        "train_labels": train.labels.to(torch.uint8),
        "test": eight_bits(test.features, step),
        "test_labels": test.labels.to(torch.uint8),
        "step": step,
        "centre": encoding.centre,
        "scale": encoding.scale,
        "axes": eight_bits(encoding.axes, axes_step),
        "axes_step": axes_step,
    }
    told = {"backbone": encoding.backbone, "weights": encoding.weights, "interpolation": encoding.interpolation}
    names = {"class_names": json.dumps(data.class_names), "size": str(encoding.size)}
    write_tensors(chosen.output, tensors, told | names, "give another --output")
    print(f"{chosen.output}: {chosen.output.stat().st_size / 1e6:.2f} MB, {len(train):,} + {len(test):,} photographs")


def eight_bits(values: Tensor, step: Tensor) -> Tensor:
    """Numbers ``[N, D]`` in whole steps ``[D]``, int8, cut off at 127."""
    return (values / step).round().clamp(-127, 127).to(torch.int8)


if __name__ == "__main__":
    main()
