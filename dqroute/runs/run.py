"""The run folder: what was asked, how it went, what came out, in JSON and safetensors; nothing is pickled.

It is named after method, seed and a digest of everything that decides the result: asked for again, a run is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dqroute.core.checks import choose, meant, one_line, shown
from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.disk import AGAIN, folder_name, keep, read_json, read_json_lines, read_tensors, write_json
from dqroute.data.feature_set import OWN
from dqroute.data.files.reading import listed
from dqroute.data.image_set import ImageSet, Split
from dqroute.data.markup import box, table
from dqroute.methods.base import METHODS, Method, Problem
from dqroute.runs.asked import FORMAT, checked_asked, weights_asked
from dqroute.runs.locking import only_process
from dqroute.runs.pictures import changed_files
from dqroute.runs.report import Classes, Report

LARGEST = 2**25  # bytes of settings, which name every class
# The files of a run folder. The names of what it keeps stand here and nowhere else.
SETTINGS = "settings.json"  # what was asked: method, options, training settings, seed, data set, class counts
PROVENANCE = "provenance.json"  # code, packages, machine, pixels' fingerprint; "finished" when the training is
EPOCHS = "epochs.jsonl"  # a line an epoch: loss, accuracy, rate, seconds, what the method tells of itself
CHECKPOINT = "checkpoint.safetensors"  # the latest state of the training, until it is finished
WEIGHTS = "weights.safetensors"  # the trained network
REPORT = "report-{split}.json"  # the evaluation on one of SPLITS
CARD = "card.md"  # all that in plain words, for who is given the model
JUDGED = "judged.safetensors"  # what the experts said of training images out of fold: logits, labels, which images
TYPICAL = "typical.safetensors"  # what training features look like, and how strange each was to the other folds
WORLDS = "worlds-{split}.json"  # accuracy where classes are as common as in training, or the other way round
TRADE_OFF = "tradeoff-{split}.json"  # the curves of overall against few-shot accuracy

OUT_OF_FOLD = "out-of-fold"  # training images, by what those heads said that never saw them
SPLITS = ("test", "val", OUT_OF_FOLD)


def default_runs_dir() -> Path:
    """``$DQROUTE_RUNS``, or ``runs`` in the working folder."""
    return Path(os.environ.get("DQROUTE_RUNS", "runs")).expanduser()


def canonical(value: Any) -> Any:
    """A value as JSON has it, with every number as a float: 1 and 1.0 ask for the same run."""
    # A number too large to be a float, such as a seed, stays as it is.
    return json.loads(json.dumps(value), parse_int=lambda n: float(n) if abs(int(n)) < 2**53 else int(n))


def digest_of(request: Any) -> str:
    """Ten hexadecimal digits that tell requests apart."""
    return hashlib.sha256(json.dumps(canonical(request), sort_keys=True).encode()).hexdigest()[:10]


def folder_of(runs_dir: Path, request: dict[str, Any], data_name: str) -> Path:
    """Where the run of a request lies, or would lie: two folders below ``runs_dir``, whatever the names are."""
    of_method = f"{folder_name(request['method'])}-seed{request['seed']}-{digest_of(request)}"
    return runs_dir / folder_name(data_name) / of_method


def build(request: dict[str, Any], problem: Problem) -> Method:
    """The method of a request, its weights drawn from the request's seed."""
    method = METHODS[choose("method", request["method"], METHODS)]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(request["seed"])
        model = method(problem, **request["options"])
    # A training in bf16 may be opened where only slow emulation computes in it.
    model.precision = "fp32" if request["training"]["precision"] == "fp32" else "auto"
    return model


class Run:
    """A training run on disk: its ``folder``; ``settings``, ``method`` and ``seed`` asked for; ``data``, if at hand."""

    def __init__(self, folder: str | os.PathLike[str], data: ImageSet | None = None) -> None:
        """Open an existing run; raises FileNotFoundError if there is none, ValueError if it is of another format."""
        if not isinstance(folder, (str, os.PathLike)):
            raise ValueError(f"a run is opened by its folder, as in dq.Run(run.folder); got {shown(folder)}")
        self.folder, self.data = Path(folder).expanduser(), data
        self.checkpoint_file, self.weights_file = self.folder / CHECKPOINT, self.folder / WEIGHTS
        self.settings: dict[str, Any] = self.read(SETTINGS)
        if self.settings is None:
            lists = "dq.find_runs(FOLDER) lists the runs below one"
            if below := [path for deep in ("*", "*/*") for path in sorted(self.folder.glob(f"{deep}/{SETTINGS}"))]:
                raise FileNotFoundError(f"{self.folder} is a folder of runs, such as {below[0].parent}; {lists}")
            near = meant(self.folder.name, [path.parent.name for path in self.folder.parent.glob(f"*/{SETTINGS}")])
            raise FileNotFoundError(f"{self.folder} holds no run: it has no {SETTINGS}{near}; {lists}")
        self.asked = checked_asked(self.settings, self.folder / SETTINGS)
        self.method, self.seed = self.asked.method, self.asked.seed

    @classmethod
    def of_request(cls, runs_dir: Path, request: dict[str, Any], problem: Problem, data: ImageSet) -> Run:
        """The run for this request: the one there is, or a new folder for it.

        A request is everything that decides the result, JSON-ready: method, options, training, seed, data. ValueError
        if the folder's settings are no longer those it was made for.
        """
        folder, names, digest = folder_of(runs_dir, request, data.name), list(data.class_names), digest_of(request)
        if not (folder / SETTINGS).is_file():
            described = {"problem": problem.to_json(), "class_names": names}
            with only_process(folder):
                write_json(folder / SETTINGS, {"format": FORMAT, "digest": digest} | request | described)
        run = cls(folder, data)
        changed = [name for name in request if canonical(run.settings.get(name)) != canonical(request[name])]
        if changed or run.settings.get("digest") != digest:
            what = f"was changed after the run was made ({', '.join(changed) or 'digest'} differs)"
            raise ValueError(f"{folder / SETTINGS} {what}; restore it, or remove the folder to train the run again")
        if run.settings["class_names"] != names:
            # They decide nothing but how answers are called; the newer ones are the corrected ones.
            run.settings["class_names"] = names
            write_json(folder / SETTINGS, run.settings)
        return run

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.epochs)} epochs so far"
        return f"{type(self).__name__}({str(self.folder)!r}, {state})"

    def read(self, name: str) -> Any:
        """The content of a JSON or JSON-lines file of the run; None without it, ValueError if it is damaged."""
        path = self.folder / name
        if not path.is_file():
            return None
        if name == SETTINGS and path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is too large to be the settings of a run; {AGAIN}")
        return read_json_lines(path) if path.suffix == ".jsonl" else read_json(path)

    def keep(self, name: str, value: Any) -> None:
        """Keep what can be worked out again, text or JSON; of several processes that train together, one writes."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_rank() > 0):
            keep(self.folder / name, value)

    @property
    def provenance(self) -> dict[str, Any]:
        """Code version, packages, machine, times; empty before the training starts."""
        found = self.read(PROVENANCE) or {}
        if not (isinstance(found, dict) and isinstance(found.get("machine", {}), dict)):
            raise ValueError(f"{self.folder / PROVENANCE} tells nothing of a run; {AGAIN}")
        return found

    @property
    def near_copies(self) -> tuple[int, int] | None:
        """How many training images have a near copy among those that their judges learned from, of how many judged.

        None where nobody looked, and where nothing was judged out of fold.
        """
        told = self.provenance
        judged = sum(self.settings["problem"]["counts"]) - told.get("not_judged", 0)
        return (told["near_copies"], judged) if isinstance(told.get("near_copies"), int) else None

    @property
    def finished(self) -> bool:
        """Whether the training ran to its end (its weights may have been left out when the run was shared)."""
        return "finished" in self.provenance

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs done."""
        found = self.read(EPOCHS) or []
        if not all(isinstance(record, dict) and isinstance(record.get("seconds", 0), (int, float)) for record in found):
            raise ValueError(f"{self.folder / EPOCHS} has lines that are no records of epochs; {AGAIN}")
        return found

    @property
    def seconds(self) -> float:
        """Training time, the sum over epochs, evaluation and interruptions left out."""
        return sum(record.get("seconds", 0) for record in self.epochs)

    @property
    def groups(self) -> ShotGroups:
        """The shot groups of the training set."""
        return self.asked.problem.groups

    def split_for(self, split: str) -> str:
        """The split itself; for ``"test"`` it is ``"out-of-fold"`` where all images were trained on."""
        return OUT_OF_FOLD if split == "test" and self.settings["data"].get("test") == 0 else split

    def report(self, split: str = "test") -> Report | None:
        """The evaluation on a split, or on what :meth:`split_for` has in its place, if there is one."""
        name = REPORT.format(split=self.split_for(split))
        value = self.read(name)
        try:
            return None if value is None else self.named(Report.from_json(value))
        except ValueError as error:
            raise ValueError(f"{self.folder / name}: {error}; remove the file and evaluate the run again") from error

    def named(self, report: Report) -> Report:
        """A report of this run that knows the classes."""
        near = self.near_copies if self.settings["data"].get("name") in OWN else None
        of_run = Classes(self.settings["class_names"], self.settings["problem"]["counts"], self.groups, near)
        return replace(report, classes=of_run)

    def _repr_html_(self) -> str:
        """For notebooks: what was trained on what, for how long, and how well it does."""
        asked, report = self.settings, self.report()
        counts = asked["problem"]["counts"]
        rows = [
            ("method", f"{self.method}, seed {self.seed}"),
            ("data", f"{asked['data']['name']}: {sum(counts):,} training images of {len(counts)} classes"),
            ("network", asked["problem"]["backbone"]),
            ("trained", f"{len(self.epochs)} epochs, {self.seconds:.0f} s" + ", unfinished" * (not self.finished)),
        ]
        if report:
            names = ("balanced", "overall", *GROUP_NAMES, "worst")
            rows.append((report.split, ", ".join(f"{name} {report.said(name)}" for name in names)))
        return box("run", table([*rows, ("folder", self.folder.name)]))

    def new_model(self) -> Method:
        """The run's model as it was before training, drawn from the run's seed.

        ValueError if the settings, which may be anybody's, describe no model of this version, or one beyond all reason.
        """
        with understood(self.folder / SETTINGS):
            return build(self.settings, self.asked.problem)

    @cached_property
    @torch.inference_mode(False)  # more is asked of its weights than to predict
    def model(self) -> Method:
        """The trained model, ready to predict; FileNotFoundError without weights, ValueError if they are another's."""
        if not self.weights_file.is_file():
            why = "the run is unfinished, or shared without them"
            remedy = "dq.fit with the same settings and another runs_dir trains it"
            raise FileNotFoundError(f"{self.folder} has no weights: {why}; {remedy}")
        with understood(self.folder / SETTINGS):
            least = 2 * weights_asked(self.asked)
        # A network that is larger than what is to be put into it is not built.
        if least > self.weights_file.stat().st_size:
            raise ValueError(
                f"{self.weights_file} belongs to another network: {self.folder / SETTINGS} has a larger one"
            )
        model = self.new_model()
        try:
            model.load_state_dict(self.own_tensors(self.weights_file))
        except RuntimeError as error:
            raise ValueError(f"{self.weights_file} belongs to another network: {one_line(error)}") from error
        return model.eval()

    @cached_property
    def judged(self) -> dict[str, Tensor]:
        """What the experts said of training images out of fold, ``logits``, ``[K, N, C]``, and what is known of these.

        Of each image, ``[N]``: ``labels``; ``fold``, the part that those who speak never saw; ``images``, places in the
        training split. ValueError if the run has no such predictions. What fuses the experts was fitted on them.
        """
        path = self.folder / JUDGED
        if not path.is_file():
            told = self.provenance
            remedy = "train on features, as in dq.load(..., backbone='efficientnet-lite0'), with folds of 2 or more"
            if "not_judged" in told:  # it is so already
                remedy = "it was judged on the images that it trains on; train it with judge='auto', or another method"
                if "out_of_fold_accuracy" not in told:
                    remedy = "all of each class lies in one group or one fold; load with smaller groups, bursts, say"
                elif told["judge"] == "out-of-fold":
                    remedy = "they were too many to be kept"
            raise ValueError(f"{self!r} has no predictions out of fold; {remedy}")
        held = self.own_tensors(path, "logits", "labels", "fold", "images")
        return held | {"logits": held["logits"].float()}

    def own_tensors(self, path: Path, *needed: str) -> dict[str, Tensor]:
        """The tensors of a file of the run; ValueError if it is damaged, another run's, or lacks some ``needed``."""
        tensors, told = read_tensors(path)
        if told.get("digest", self.settings["digest"]) != self.settings["digest"]:
            raise ValueError(f"{path} belongs to another run; put the run's own {path.stem} there")
        if missing := [name for name in needed if name not in tensors]:
            raise ValueError(f"{path} has no {', '.join(missing)}; restore it, or train in another runs_dir")
        return tensors

    def warn_of_other_images(self, data: ImageSet, parts: Collection[str] = ("train", "val", "test")) -> None:
        """Warn if the run was trained on other pixels, read from files of the same names and sizes.

        No error, because two machines may decode a JPEG file a little differently. Of pictures that stay in their files
        those of these ``parts`` are looked at, and the files are named that hold something else than then.
        """
        if changed := changed_files(self.folder, data, parts):
            warnings.warn(
                f"{listed(changed)}: other content than when {self.folder} was trained; another runs_dir, or removing "
                "the folder, trains on what is there now, and dq.evaluate(run, data, other=True) is judged on it",
                stacklevel=3,
            )
        known, in_memory = self.provenance.get("data_fingerprint"), isinstance(data.train, Split)
        if known is not None and in_memory and "files" in data.identity and known != data.fingerprint():
            remedy = "if they were changed, choose another runs_dir, or remove the folder to train it again"
            told = f"the images of {data.name} are not to the bit those that {self.folder} was trained on; {remedy}"
            warnings.warn(told, stacklevel=3)


@contextmanager
def understood(place: Path) -> Iterator[None]:
    """What building a model of settings raises, which may be anybody's, as a ValueError that names the place."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, RuntimeError, OverflowError, ValueError) as error:
        missing = f"{error} is not there" if isinstance(error, KeyError) else one_line(error)[:1000]
        raise ValueError(f"{place} describes no run of this version ({missing}); restore it") from error


RunOrFolder = Run | str | os.PathLike[str]


def opened(run: RunOrFolder) -> Run:
    """The run; of a folder, given by its path, the one that lies there, with errors as :class:`Run`."""
    return run if isinstance(run, Run) else Run(run)


def find_runs(runs_dir: str | os.PathLike[str] | None = None) -> list[Run]:
    """All finished runs of this format below a folder, by path, links followed; a warning names what is unreadable.

    FileNotFoundError if a folder is named that is not there.
    """
    if not isinstance(runs_dir, (str, os.PathLike, NoneType)):
        raise ValueError(f"runs are looked for below a folder; got {shown(runs_dir)}")
    if runs_dir is not None and not Path(runs_dir).expanduser().is_dir():
        raise FileNotFoundError(f"there is no folder {runs_dir}; give the one that dq.fit was given as runs_dir")
    found, seen = [], set()
    for folder, inside, files in os.walk(Path(runs_dir or default_runs_dir()).expanduser(), followlinks=True):
        inside.sort()
        if (real := os.path.realpath(folder)) in seen:  # a link that leads in a circle
            inside.clear()
        # A finished run has a provenance beside its settings; settings alone may be anybody's.
        elif {SETTINGS, PROVENANCE} <= set(files):
            try:
                found += [run] if (run := Run(folder)).finished else []
            except (OSError, ValueError) as error:
                warnings.warn(f"passed over: {one_line(error)}", stacklevel=2)
        seen.add(real)
    return found
