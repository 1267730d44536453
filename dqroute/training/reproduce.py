"""Make a run again, and say whether the numbers agree.

``python -m dqroute.training.reproduce RUN DATA`` loads the data set as the run's settings say, trains the run anew into
another folder and compares. ``RUN`` is a run folder, or a line of a published table; ``DATA`` is what
:func:`dqroute.load` takes, with options in JSON where the settings cannot tell them:

    python -m dqroute.training.reproduce book/results/glyphs.jsonl.xz:1 glyphs
    python -m dqroute.training.reproduce runs/folder/ride-seed1-6bad1d6e9e folder:pictures '{"size": 64}'

It ends with 0 if the numbers are identical or agree within the tolerance, and with 1 if they differ.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from dqroute.data import DATA_SETS, ImageSet, load
from dqroute.data.disk import read_tensors
from dqroute.data.feature_set import OWN
from dqroute.methods.base import METHODS
from dqroute.models.encoders import is_encoder
from dqroute.models.pretrained import identity_of
from dqroute.runs.evaluate import evaluate
from dqroute.runs.own_data import differences
from dqroute.runs.published import open_run, short
from dqroute.runs.run import SPLITS, Run
from dqroute.training.fit import fit
from dqroute.training.settings import Settings

TOLERANCE = 0.01


def data_of(run: Run, name: str, options: dict[str, Any]) -> ImageSet:
    """The data set of a run: its settings tell how it was drawn, and ``options`` what they do not.

    ValueError if what is loaded is not what the run was trained on.
    """
    was = run.settings["data"]
    given, wanted = name.partition(":")[0], was["name"]
    if given != wanted:
        path = ":PATH" * (wanted in ("folder", "list", "table"))
        raise ValueError(f"{run.folder} was trained on {wanted!r}; give {wanted}{path} instead of {name}")
    takes = inspect.signature(DATA_SETS[given]).parameters if given in DATA_SETS else {}
    told = {key: value for key, value in was.items() if key in takes}
    if (seen := was.get("features")) and "photographs" not in given:
        told |= {"backbone": seen["backbone"], "components": seen["components"], "views": seen.get("views", 1)}
    if given in OWN:
        told |= {"stream": was.get("stream", False), "fit": was.get("fit", "crop")}
        told |= {"val": was["held_out"]} if was.get("held_out") else {}
    data = load(name, **told | options)
    if data.identity != was:
        raise ValueError(f"{data.name} as loaded is not the data of {run.folder}: {differences(data, run)}")
    # A set's identity does not tell what training may do to its images.
    if data.augmentation is None:
        return data
    may, kind = run.settings["augmentation"], type(data.augmentation)
    # Older runs name what no set allows any more.
    told = {field.name: may[field.name] for field in fields(kind) if field.name in may}
    chosen: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
    return replace(data, augmentation=kind(**chosen))


def train_again(
    run: Run, data: ImageSet, runs_dir: Path, device: str = "auto", progress: bool = True, pretrained: str | None = None
) -> Run:
    """The run trained anew as it was, precision, compilation and threads included, and evaluated where it was.

    It goes into another ``runs_dir``; ``pretrained`` says where the weights are that it started from, if it did.
    ValueError if the new run would be the earlier one, or started from other weights, or went on from a run.
    """
    if "start_from" in run.settings:
        told = f"{run.folder} went on from the run {run.settings['start_from']['digest']}"
        raise ValueError(f"{told}; dq.fit(..., start_from=) with that run makes it again")
    if runs_dir.resolve() in run.folder.resolve().parents[1:2]:
        raise ValueError(f"{runs_dir} holds the run itself; name another folder for the new one")
    asked, was = run.settings["training"], run.provenance
    # What a run's settings leave out had its default in Settings, whatever a preset has today. Some settings have the
    # precision that was asked for, "auto", and provenance what that came to.
    settings = vars(Settings()) | asked | {"pretrained": pretrained, "precision": was.get("precision", "auto")}
    given, wanted = identity_of(pretrained, settings["backbone"]) if pretrained else None, asked.get("pretrained")
    # An encoder's weights are found by its name.
    if given != wanted and not is_encoder(settings["backbone"]):
        raise ValueError(f"{run.folder} started from the weights {wanted}, got {given}; see --pretrained")
    if "features" in run.settings["data"]:
        settings = {n: v for n, v in settings.items() if n not in ("backbone", "pretrained")}
    how = {"compile": was.get("compiled", False), "device": device, "progress": progress}
    before = torch.get_num_threads()
    torch.set_num_threads(was.get("machine", {}).get("threads", before))  # sums over another number round otherwise
    try:
        again = fit(run.method, data, seed=run.seed, runs_dir=runs_dir, **run.settings["options"] | settings | how)
        for split in SPLITS:
            if run.report(split) is not None:
                evaluate(again, split=split, device=device)
    finally:
        torch.set_num_threads(before)
    return again


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested lists and dictionaries but a clock's, by name, such as ``few`` or ``difficulty[3]``."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "seconds":
                yield from numbers(item, f"{name} {key}".strip())
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers(item, f"{name}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value)


def results(run: Run) -> dict[str, float]:
    """All numbers of a run: of each epoch, and of each report there is."""
    epochs = {f"epoch {record['epoch']}": record for record in run.epochs}
    reports = {report.split: report.to_json() for split in SPLITS if (report := run.report(split))}
    return dict(numbers(epochs | reports))


def same_weights(a: Run, b: Run) -> bool | None:
    """Whether two runs have the same weights to the last bit; None where one was shared without them."""
    if not (a.weights_file.is_file() and b.weights_file.is_file()):
        return None
    mine, other = read_tensors(a.weights_file)[0], read_tensors(b.weights_file)[0]
    return mine.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in mine.items())


def circumstances(run: Run, again: Run) -> list[str]:
    """What is not as it was: code, packages, machine, images; a line each."""
    was, now = run.provenance, again.provenance
    names = ("commit", "python", "precision", "compiled", "processes", "data_fingerprint")
    # Not all tell of their processes.
    pairs = {name.replace("_", " "): (was[name], now.get(name)) for name in names if name in was}
    pairs["method's revision"] = run.settings.get("revision"), METHODS[run.method].revision
    for kind in ("packages", "machine"):
        pairs |= {name: (before, now.get(kind, {}).get(name)) for name, before in was.get(kind, {}).items()}
    lines = [f"{name} is {here}, was {before}" for name, (before, here) in sorted(pairs.items()) if before != here]
    unclean = [which for which, made in (("then", was), ("now", now)) if made.get("clean") is False]
    return lines + [f"the code had changes that no commit holds {which}" for which in unclean]


def verdict(run: Run, again: Run, tolerance: float = TOLERANCE) -> tuple[bool, list[str]]:
    """Whether the numbers of a run and of the new one agree, and how that is said.

    ``tolerance`` is the largest difference of a share (0.01 is one point of accuracy), and, relative, of a loss.
    """
    mine, other = results(run), results(again)
    if not mine:
        return False, [f"{run.folder} holds no numbers to compare"]
    weights = same_weights(run, again)
    # As it is in a run folder, or to as many digits as are published.
    written = {name: (value, short(value, 3 if "difficulty" in name else 5)) for name, value in other.items()}
    if weights is not False and all(value in written.get(name, ()) for name, value in mine.items()):
        said = "no weights were shared to compare" if weights is None else "and so are the weights"
        return True, [f"identical: all {len(mine)} numbers, in every digit that is there; {said}"]
    # What has to agree: loss and accuracy of the last epoch, and the accuracies of each report.
    accuracies = [f"{split} {name}" for split in SPLITS for name in ("overall", "many", "medium", "few")]
    last = f"epoch {len(run.epochs)}"
    names = [name for name in (f"{last} loss", f"{last} accuracy", *accuracies) if name in mine]
    pairs = {name: (mine[name], other.get(name, math.nan)) for name in names}
    apart = [name for name in names if not alike(name, *pairs[name], tolerance)]
    if apart:
        lines = [f"{name} is {pairs[name][1]:.4f}, was {pairs[name][0]:.4f}" for name in apart]
        return False, [f"different by more than {tolerance:g}:", *lines]
    largest = max(abs(was - now) for was, now in pairs.values())
    return True, [f"not identical, but within {tolerance:g}: {', '.join(names)}; largest difference {largest:.2g}"]


def alike(name: str, value: float, other: float, tolerance: float) -> bool:
    """Whether two numbers agree: a loss by its share, anything else by the difference."""
    return abs(value - other) <= tolerance * (max(abs(value), abs(other)) if name.endswith("loss") else 1)


def options_of(text: str) -> dict[str, Any]:
    """Options of a data set; ArgumentTypeError unless they are a JSON object."""
    options: Any = None
    with suppress(ValueError):
        options = json.loads(text)
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"options are written as JSON, such as '{{\"size\": 64}}'; got {text}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Reproduce the run that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m dqroute.training.reproduce", description="Make a run again and say whether the numbers agree."
    )
    parser.add_argument("run", metavar="RUN", help="a run folder, or FILE.jsonl.xz:LINE of a published table")
    parser.add_argument("data", metavar="DATA", help="as dqroute.load takes it: glyphs, cifar100, folder:PATH, …")
    parser.add_argument("options", nargs="?", type=options_of, default="{}", help="of the data set, in JSON")
    parser.add_argument("--runs-dir", type=Path, help="where the new run goes; by default it is not kept")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pretrained", help="the weights it started from: imagenet, or a safetensors file")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dqroute-") as scratch:
        try:
            run = open_run(chosen.run)
            if not run.finished:
                parser.error(f"{run.folder} is not finished; there is nothing to compare with")
            data, base = data_of(run, chosen.data, chosen.options), chosen.runs_dir or Path(scratch)
            again = train_again(run, data, base, chosen.device, pretrained=chosen.pretrained)
        except (OSError, ValueError, TypeError) as error:
            parser.error(str(error))
        agrees, lines = verdict(run, again, chosen.tolerance)
        print("\n".join([*lines, *circumstances(run, again)]))
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
