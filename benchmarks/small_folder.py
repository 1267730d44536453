"""Small messy folders, as people have them: what the package promises of them, and what is so.

``python benchmarks/small_folder.py CIFAR-100 PHOTOGRAPHS`` takes a tree of ``train/<class>/*`` and ``test/<class>/*``,
and a folder of other photographs for strangers. What a draw gave is kept in ``--work``, and found there again.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from PIL import Image, ImageEnhance
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

import dqroute as dq
from dqroute.core import rings
from dqroute.core.judging import balanced_weights, fold_of
from dqroute.data import FeatureSplit, ImageSet, near_copies
from dqroute.data.disk import read_json, write_json
from dqroute.data.feature_set import principal, projected
from dqroute.measures.decisions import precision_cuts
from dqroute.measures.outsiders import Typical, share_as_strange
from dqroute.runs.audit import suspect_labels
from dqroute.runs.classify import Picture, looked_at, pictures_of, square_of
from dqroute.runs.decisions import thresholds
from dqroute.runs.export import Whole
from dqroute.runs.judged import out_of_fold
from dqroute.runs.label_next import label_next
from dqroute.runs.outsiders import OUTSIDERS

COUNTS = (150, 110, 80, 60, 45, 32, 24, 17, 12, 8, 6, 5)  # pictures of each class of a folder: 549
BURSTS, FRAMES = (15, 11, 8, 6, 5, 4, 3, 2, 2, 2, 2, 2), 8
NEW, PILE, ASKED = 30, 70, 36  # new pictures a class; unlabelled ones of the most frequent; labels that are asked for
MOVED = 20  # one of so many labels is made wrong
Score = Callable[[Tensor], Tensor]
BURST = r"burst.+_"


def make_folders(tree: Path, out: Path, draw: int) -> Path:
    """The pictures of one draw, in folders of its own: ``pictures``, ``bursts``, ``new``, ``strangers``, ``pile``.

    Even draws are of every other class, odd ones of those between: what is chosen on the former is tried on the latter.
    Strangers are of classes of the same half that the folder has not.
    """
    place, names = out / f"draw-{draw}", sorted(path.name for path in (tree / "train").iterdir())[draw % 2 :: 2]
    files = {part: {name: sorted((tree / part / name).iterdir()) for name in names} for part in ("train", "test")}
    chance, mistake = random.Random(draw), random.Random(draw)
    chosen = chance.sample(names, len(COUNTS))
    chosen.sort(key=lambda name: -min(len(files["train"][name]), COUNTS[0]))  # the scarce ones are not the frequent
    for name, number, bursts in zip(chosen, COUNTS, BURSTS, strict=True):
        own, new = files["train"][name], files["test"][name]
        chance.shuffle(own)
        for i, file in enumerate(own[:number]):
            photograph(file, place / "pictures" / name)
            # The same pictures once more, some of them in another class's folder.
            wrong = mistake.choice([other for other in chosen if other != name])
            photograph(file, place / "mislabelled" / (name if i % MOVED != 3 else wrong), moved=i % MOVED == 3)
        for file in own[:bursts]:
            for frame in range(FRAMES):
                photograph(file, place / "bursts" / name, frame)
        for file in new[:NEW]:
            photograph(file, place / "new" / name)
        for file in new[NEW : NEW + -(-PILE * number // COUNTS[0])]:
            photograph(file, place / "pile" / name)
    for name in set(names) - set(chosen):
        for file in files["test"][name][: NEW // 3]:
            photograph(file, place / "strangers" / name)
    return place


def photograph(file: Path, folder: Path, frame: int | None = None, moved: bool = False) -> None:
    """A picture as a JPEG of a size and shape of its own, as cameras leave them; or a frame of a burst."""
    name = f"{file.parent.name}-{file.stem}"
    target = folder / f"{f'burst{name}_{frame}' if frame is not None else 'moved-' * moved + name}.jpg"
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    of = random.Random(f"{file.parent.name}/{file.name}")  # the same in every draw, so that its features are
    side = of.randint(80, 400), of.randint(80, 400)
    picture = Image.open(file).convert("RGB").resize(side, Image.Resampling.BICUBIC)
    if frame is not None:
        picture = ImageEnhance.Brightness(picture).enhance(0.9 + 0.02 * frame)
        left, top = frame * side[0] // 100, frame * side[1] // 200
        picture = picture.crop((left, top, left + side[0] * 9 // 10, top + side[1] * 9 // 10))
    picture.save(target)


def measured(place: Path, others: Path | None, seed: int, **fit: Any) -> Iterator[dict[str, float]]:
    """All numbers of one draw's folders, in per cent unless the name says otherwise, some at a time."""
    settings = fit | {"seed": seed, "runs_dir": place / "runs", "progress": False}
    pictures, new, mislabelled = (dq.load(f"folder:{place / n}", test=0) for n in ("pictures", "new", "mislabelled"))
    run = dq.fit("dqroute", pictures, **settings)
    yield accuracy("dqroute", run, new) | promises(run, place / "new") | fitted(run) | precisions(run)
    known = pictures_of(place / "new")
    strange = {"strangers": place / "strangers"} | ({} if others is None else {"photographs": others})
    yield strangers(run, known, strange, "pictures") | scores(run, known, strange)
    bursts = dq.load(f"folder:{place / 'bursts'}", test=0, group_by=BURST)
    yield strangers(dq.fit("dqroute", bursts, **settings), known, strange, "bursts")
    other, wrong = (
        dq.fit("dqroute", mislabelled, **settings),
        sum("moved-" in name for name in mislabelled.train.names or ()),
    )
    right = suspect_labels(other, most=wrong)["file"].str.contains("moved-")
    yield {
        "wrong labels": 100 * wrong / len(mislabelled.train),
        "suspects that are wrong": 100 * right.mean(),
        "wrong labels found": 100 * right.sum() / wrong,
    }
    pile = pictures_of(place / "pile")
    asked = {
        "asked for": list(label_next(run, pile, ASKED)["file"]),
        "at random": random.Random(seed).sample(pile, ASKED),
    }
    for name, files in asked.items():
        more = copytree(place / "pictures", place / name, dirs_exist_ok=True)
        for file in (Path(str(file)) for file in files):
            (more / file.parent.name / file.name).write_bytes(file.read_bytes())
        wider = dq.fit("dqroute", dq.load(f"folder:{more}", test=0), **settings)
        yield accuracy(f"with {ASKED} labels {name}", wider, new)
    changes: dict[str, Any] = {"": {}, " at a scale of 20": {"cosine_scale": 20.0}}
    if not fit:
        changes[" at 160 pixels"] = {"backbone": "efficientnet-lite0"}
    for name, more in changes.items():
        yield accuracy(f"one head{name}", dq.fit("logit-adjustment", pictures, **settings | more), new)
    yield in_32_bits(run, place / "new")
    for name, images in {"frames": bursts, "pictures": pictures}.items():
        table = near_copies(dq.data.features(images, run.model.backbone, progress=False), most=10**6).table
        yield {f"{name} with a near copy": 100 * len({*table["file"], *table["other file"]}) / len(images.train)}


def accuracy(name: str, run: dq.Run, new: ImageSet) -> dict[str, float]:
    """The mean of the classes, out of fold and on new pictures."""
    found = {"out of fold": dq.evaluate(run, split="out-of-fold"), "new": dq.evaluate(run, new, other=True)}
    return {f"{name}, {on}": 100 * report.balanced for on, report in found.items()}


def promises(run: dq.Run, new: Path) -> dict[str, float]:
    """Thresholds for a precision, and sets for a coverage: how far new pictures keep them."""
    table, found = dq.classify(run, new, coverage=0.9), dict[str, float]()
    label = table["file"].map(lambda file: Path(file).parent.name)
    for precision in (0.9, 0.95):
        told = table["probability"] >= table["class"].map(thresholds(run, precision=precision))
        found[f"precision {precision}, right"] = 100 * (table["class"] == label)[told].mean()
        found[f"precision {precision}, answered"] = 100 * told.mean()
    held = [name in names for name, names in zip(label, table["set"], strict=True)]
    return found | {"coverage 0.9, held": 100 * sum(held) / len(held), "names a set": table["set"].map(len).mean()}


def fitted(run: dq.Run) -> dict[str, float]:
    """Class-balanced NLL of the fusion, fitted on four folds and asked of the fifth, by what ties it to the mean."""
    found, number = dict[str, float](), len(run.settings["class_names"])
    for shrink in (0.001, 0.003, 0.01, 0.03):
        forget(run)
        with patch.multiple(rings, SHRINK=shrink, SHRINK_FROM=0):
            said, labels = out_of_fold(run, run.data)
        nll = -said.probabilities.gather(1, labels[:, None]).squeeze(1).clamp_min(1e-9).log()
        found[f"nll, shrunk by {shrink}"] = (nll.double() @ balanced_weights(labels, number).double()).item()
    forget(run)
    return found


def forget(run: dq.Run) -> None:
    """What a run said out of fold is worked out once; let it be worked out again."""
    vars(run).pop("said_out_of_fold", None)


def precisions(run: dq.Run) -> dict[str, float]:
    """Thresholds for nine right in ten, chosen on four folds and tried on the fifth, each class counting alike."""
    (said, labels), fold, found = out_of_fold(run, run.data), run.judged["fold"], {}
    p, number = said.probability, len(run.settings["class_names"])
    weights = balanced_weights(labels, number)
    for pooled, z in product((0.0, 10.0, 20.0, 50.0), (0.0, 1.0, 2.0)):
        told = torch.zeros_like(labels, dtype=torch.bool)
        for index in fold.unique():
            a, b = fold != index, fold == index
            given = p[a], said.label[a], labels[a], number, 0.9, weights[a]
            told[b] = p[b] >= precision_cuts(*given, pooled=pooled, z=z)[said.label[b]]
        right = (said.label == labels)[told].double()
        found[f"pooled {pooled:.0f}, z {z:.0f}, right"] = 100 * float(
            (right @ weights[told].double()) / weights[told].sum()
        )
        found[f"pooled {pooled:.0f}, z {z:.0f}, answered"] = 100 * float(weights[told].sum() / weights.sum())
    return found


@torch.no_grad()
def in_32_bits(run: dq.Run, new: Path) -> dict[str, float]:
    """How far an exported program is from the run, which computes in 16 bits where the hardware does."""
    pixels = dq.read_images(pictures_of(new)[::6], square_of(run.model)[0])
    ours, theirs = run.model.predict(pixels).probabilities, Whole(run.model)(pixels)
    apart, other = (ours - theirs).abs().amax(dim=1), ours.argmax(dim=1) != theirs.argmax(dim=1)
    told = {"in 32 bits, apart in the median": apart.median(), "in 32 bits, apart at most": apart.max()}
    return {name: 100 * value.item() for name, value in told.items()} | {
        "in 32 bits, another answer": 100 * other.double().mean().item()
    }


def strangers(run: dq.Run, known: Sequence[Picture], strange: dict[str, Path], name: str) -> dict[str, float]:
    """Shares of pictures that are said to be stranger than all but 5 % of one's own, and the area under the curve."""
    found = {}
    for kind in OUTSIDERS:
        own = dq.classify(run, known, outsiders=kind)["own"]
        found[f"{name}, {kind}, new below 0.05"] = 100 * (own < 0.05).mean()
        for what, folder in strange.items():
            of = dq.classify(run, folder, outsiders=kind)["own"]
            apart = [False] * len(own) + [True] * len(of)
            found[f"{name}, {kind}, {what} below 0.05"] = 100 * (of < 0.05).mean()
            found[f"{name}, {kind}, {what}, area"] = 100 * roc_auc_score(apart, -pd.concat([own, of]))
    return found


@torch.no_grad()
def scores(run: dq.Run, known: Sequence[Picture], strange: dict[str, Path]) -> dict[str, float]:
    """Other scores of strangeness, each along axes without the picture, and one along those of all pictures."""
    assert run.data and isinstance(run.data.train, FeatureSplit) and run.data.train.whole
    train, number = run.data.train, run.data.num_classes
    fold, whole = fold_of(train.labels, 5, seed=run.seed), torch.cat(list(run.data.train.whole()))

    def means(x: Tensor, y: Tensor) -> Score:
        x = F.normalize(torch.stack([F.normalize(x, dim=1)[y == c].mean(dim=0) for c in y.unique()]), dim=1)
        return lambda new: -(F.normalize(new, dim=1) @ x.T).amax(dim=1)

    def neighbours(x: Tensor, y: Tensor) -> Score:
        x = F.normalize(x, dim=1)
        return lambda new: -(F.normalize(new, dim=1) @ x.T).topk(min(5, len(x)), dim=1).values[:, -1]

    def ridge(r: float) -> Callable[[Tensor, Tensor], Score]:
        return lambda x, y: Typical.of(x, y, number, r).distance

    def anew(seen: Tensor) -> Tensor:
        return projected(whole, *principal(lambda: [whole[seen]], train.features.shape[1]))

    axes = {seen: anew(fold != seen) for seen in fold.unique().tolist() if seen >= 0}
    kinds = {f"ridge {r}": (ridge(r), axes) for r in (0.1, 0.3, 0.6, 0.9)}
    kinds |= {"nearest mean": (means, axes), "fifth neighbour": (neighbours, axes)}
    kinds["ridge 0.6 along axes of all"] = ridge(0.6), dict.fromkeys(axes, train.features)
    places = {"new": known} | {what: pictures_of(folder) for what, folder in strange.items()}
    read = {what: torch.cat([o.features[0] for o, _ in looked_at(run, f, 256) if o]) for what, f in places.items()}
    found = {}
    for name, (kind, turned) in kinds.items():
        own, score = torch.full((len(fold),), torch.nan), kind(train.features, train.labels)
        for index, x in turned.items():
            own[fold == index] = kind(x[fold != index], train.labels[fold != index])(x[fold == index])
        judged = fold >= 0
        for what, x in read.items():
            share = share_as_strange(score(x), own[judged], train.labels[judged])
            found[f"{name}, {what} below 0.05"] = 100 * (share < 0.05).double().mean().item()
            if what != "new":
                apart = [False] * len(read["new"]) + [True] * len(x)
                found[f"{name}, {what}, area"] = 100 * roc_auc_score(apart, score(torch.cat([read["new"], x])))
    return found


def lines_of(found: dict[str, dict[str, float]]) -> list[str]:
    """A row a number: mean, least and most, over the even draws, on which is chosen, and over the odd ones."""
    table = pd.DataFrame(found)
    parts = [[draw for draw in found if int(draw) % 2 == odd] for odd in (0, 1)]
    lines = [f"| of draws | {' | '.join(' '.join(part) for part in parts)} |", "|---|---|---|"]
    for name, row in table.iterrows():
        some = [row[part].dropna() for part in parts]
        told = [f"{v.mean():.1f} ({v.min():.1f} to {v.max():.1f})" if len(v) else "–" for v in some]
        lines.append(f"| {name} | {' | '.join(told)} |")
    return lines


def main(arguments: Sequence[str] | None = None, **fit: Any) -> None:
    """Measure what is not measured yet, and write and print all; ``fit`` are settings of all trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("others", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--work", type=Path, default=Path("runs/small-folder"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "small-folder.json")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = dict[str, dict[str, float]]()
    for draw in asked.draws:
        kept = asked.work / f"draw-{draw}.json"
        if not kept.is_file():
            numbers, partial = dict[str, float](), kept.with_suffix(".partial")
            with redirect_stdout(StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for some in measured(make_folders(asked.tree, asked.work, draw), asked.others, draw, **fit):
                    numbers |= {name: round(float(value), 3) for name, value in some.items()}
                    write_json(partial, numbers)
            partial.rename(kept)
        found[str(draw)] = read_json(kept)
        print(f"draw {draw}", flush=True)
    write_json(asked.output, found)
    print("\n".join(lines_of(found)))


if __name__ == "__main__":
    main()
