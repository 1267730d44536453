"""The run folder: what was asked, how it went, what came out.

One folder a run, named after method, seed and a digest of everything that decides the result, so that the same run
asked for again is found. All files are JSON or safetensors; nothing is pickled. Their names stand here and nowhere
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dqroute.core.checks import choose, one_line
from dqroute.core.long_tail import ShotGroups
from dqroute.data.disk import keep_json, read_json, read_json_lines, read_tensors, write_json
from dqroute.data.image_set import ImageSet, Split
from dqroute.methods.base import METHODS, Method, Problem
from dqroute.runs.locking import LOCK, only_process
from dqroute.runs.report import Report

FORMAT = 1
# What was asked: method, options, training settings, seed, data set, class counts.
SETTINGS = "settings.json"
# Code version, packages, machine, the pixels' fingerprint; "finished" when the training is.
PROVENANCE = "provenance.json"
# A line an epoch: loss, accuracy, rate, seconds, and what the method tells of itself.
EPOCHS = "epochs.jsonl"
# The latest state of the training, until it is finished.
CHECKPOINT = "checkpoint.safetensors"
# The trained network.
WEIGHTS = "weights.safetensors"


def report_name(split: str) -> str:
    """The file of the evaluation on a split."""
    return f"report-{split}.json"


def trade_off_name(split: str) -> str:
    """The file of the trade-off curves on a split."""
    return f"tradeoff-{split}.json"


def outsiders_name(name: str, split: str) -> str:
    """The file of the report on outsiders that are called so."""
    return f"outsiders-{name}-{split}.json"


def default_runs_dir() -> Path:
    """``$DQROUTE_RUNS``, or ``runs`` in the working folder."""
    return Path(os.environ.get("DQROUTE_RUNS", "runs")).expanduser()


def problem_to_json(problem: Problem) -> dict[str, Any]:
    """A problem as plain values."""
    return asdict(problem) | {"counts": problem.counts.tolist()}


def problem_from_json(value: dict[str, Any]) -> Problem:
    """The inverse of :func:`problem_to_json`."""
    size = tuple(value["size"]) if value.get("size") else None
    given = {"counts": torch.tensor(value["counts"]), "groups": groups_from_json(value["groups"]), "size": size}
    return Problem(**(value | given | {"mean": tuple(value["mean"]), "std": tuple(value["std"])}))


def groups_from_json(value: dict[str, Any]) -> ShotGroups:
    """Shot groups from the plain values of a problem's."""
    return ShotGroups(tuple(value["many"]), tuple(value["medium"]), tuple(value["few"]), value["rule"])


def canonical(value: Any) -> Any:
    """The same value with every number as a float: 1 and 1.0 ask for the same run."""
    if isinstance(value, dict):
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    # A number too large to be a float, such as a seed, stays as it is.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and float(value) == value else value


def digest_of(request: dict[str, Any]) -> str:
    """Ten hexadecimal digits that tell requests apart."""
    return hashlib.sha256(json.dumps(canonical(request), sort_keys=True).encode()).hexdigest()[:10]


def folder_of(runs_dir: Path, request: dict[str, Any], data_name: str) -> Path:
    """Where the run of a request lies, or would lie."""
    return runs_dir / data_name / f"{request['method']}-seed{request['seed']}-{digest_of(request)}"


def build(request: dict[str, Any], problem: Problem) -> Method:
    """The method of a request, its weights drawn from the request's seed."""
    method = METHODS[choose("method", request["method"], METHODS)]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(request["seed"])
        model = method(problem, **request["options"])
    model.precision = request["training"]["precision"]
    return model


class RunRecord:
    """What is recorded of a run, in its folder (:class:`Run`) or in a table (:class:`~dqroute.runs.published.PublishedRun`).

    Attributes:
        settings: what was asked for.
        place: where the record lies, for messages.
        data: the image set it was trained on, if this process has it; :func:`dqroute.evaluate` wants it.
    """

    settings: dict[str, Any]
    place: str
    data: ImageSet | None = None

    def read(self, name: str) -> Any:
        """The content of a JSON or JSON-lines file of the run; None if there is none of that name.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The JSON and JSON-lines files there are, by name."""
        raise NotImplementedError

    def keep(self, name: str, value: Any) -> None:
        """Keep as JSON what can be worked out again, where there is a folder to keep it in."""

    @property
    def model(self) -> Method:
        """The trained model, ready to predict.

        Raises:
            FileNotFoundError: if there are no weights, with the remedy.
            ValueError: if the weights are those of another run or network.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.epochs)} epochs so far"
        return f"{type(self).__name__}({self.place!r}, {state})"

    @property
    def method(self) -> str:
        """The method's name."""
        return self.settings["method"]

    @property
    def seed(self) -> int:
        """The seed of weights, order and augmentation."""
        return self.settings["seed"]

    @property
    def provenance(self) -> dict[str, Any]:
        """Code version, packages, machine, times; empty before the training starts."""
        return self.read(PROVENANCE) or {}

    @property
    def finished(self) -> bool:
        """Whether the training ran to its end (its weights may have been left out when the run was shared)."""
        return "finished" in self.provenance

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs done."""
        return self.read(EPOCHS) or []

    @property
    def seconds(self) -> float:
        """Training time, the sum over epochs, evaluation and interruptions left out."""
        return sum(record["seconds"] for record in self.epochs)

    @property
    def groups(self) -> ShotGroups:
        """The shot groups of the training set."""
        return groups_from_json(self.settings["problem"]["groups"])

    def report(self, split: str = "test") -> Report | None:
        """The evaluation on a split, if there is one."""
        name = report_name(split)
        if (value := self.read(name)) is None:
            return None
        try:
            return Report.from_json(value)
        except ValueError as error:
            raise ValueError(
                f"{name} of {self.place}: {error}; remove the file and evaluate the run again"
            ) from error

    def new_model(self) -> Method:
        """The run's model as it was before training, drawn from the run's seed."""
        return build(self.settings, problem_from_json(self.settings["problem"]))

    def warn_of_other_images(self, data: ImageSet) -> None:
        """Warn if the run was trained on other pixels than these, read from files of the same names and sizes.

        No error, because two machines may decode a JPEG file a little differently. What a set draws itself may differ
        as little and is not compared, nor are images that stay in their files.
        """
        known = self.provenance.get("data_fingerprint")
        read = "files" in data.identity and isinstance(data.train, Split)
        if known is not None and read and known != data.fingerprint():
            warnings.warn(
                f"the images of {data.name} are not to the bit those that {self.place} was trained on; if they were "
                "changed, choose another runs_dir, or remove the folder to train it again",
                stacklevel=3,
            )


class Run(RunRecord):
    """A training run on disk.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: str | Path, data: ImageSet | None = None) -> None:
        """Open an existing run.

        Raises:
            FileNotFoundError: if the folder holds no run.
            ValueError: if its files are damaged or of another format.
        """
        self.folder, self.data = Path(folder).expanduser(), data
        self.place = str(self.folder)
        self.settings = self.read(SETTINGS)
        if self.settings is None:
            raise FileNotFoundError(f"{self.folder} holds no run: it has no {SETTINGS}")
        if not is_run(self.settings):
            found = self.settings.get("format") if isinstance(self.settings, dict) else None
            raise ValueError(
                f"{self.folder} has run format {found}, this version reads {FORMAT}; "
                "remove the folder to train it again"
            )

    @classmethod
    def of_request(cls, runs_dir: Path, request: dict[str, Any], problem: Problem, data: ImageSet) -> Run:
        """The run for this request: the one there is, or a new folder for it.

        Args:
            request: everything that decides the result, JSON-ready: method, options, training, seed, data. That the
                method takes its options is for the caller to make sure of.

        Raises:
            ValueError: if the folder's settings are no longer those it was made for.
        """
        folder = folder_of(runs_dir, request, data.name)
        head = {"format": FORMAT, "digest": digest_of(request)}
        if not (folder / SETTINGS).is_file():
            described = {"problem": problem_to_json(problem), "class_names": list(data.class_names)}
            with only_process(folder):
                write_json(folder / SETTINGS, head | request | described)
        run = cls(folder, data)
        changed = [name for name in request if canonical(run.settings.get(name)) != canonical(request[name])]
        if changed or run.settings.get("digest") != head["digest"]:
            raise ValueError(
                f"{folder / SETTINGS} was changed after the run was made ({', '.join(changed) or 'digest'} differs); "
                "restore it, or remove the folder to train the run again"
            )
        names = list(data.class_names)
        if run.settings["class_names"] != names:
            # They decide nothing but how answers are called; the newer ones are the corrected ones.
            run.settings["class_names"] = names
            write_json(folder / SETTINGS, run.settings)
        return run

    def read(self, name: str) -> Any:
        path = self.folder / name
        if not path.is_file():
            return None
        return read_json_lines(path) if path.suffix == ".jsonl" else read_json(path)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("[!.]*.json*"))

    def keep(self, name: str, value: Any) -> None:
        # Of several processes that train together, one writes.
        if not (dist.is_available() and dist.is_initialized() and dist.get_rank() > 0):
            keep_json(self.folder / name, value)

    @property
    def checkpoint_file(self) -> Path:
        """Where the latest state of the training lies until the run is finished."""
        return self.folder / CHECKPOINT

    @property
    def weights_file(self) -> Path:
        """Where the trained network lies."""
        return self.folder / WEIGHTS

    @property
    def lock_file(self) -> Path:
        """What the process holds that trains the run."""
        return self.folder / LOCK

    @cached_property
    def model(self) -> Method:
        if not self.weights_file.is_file():
            raise FileNotFoundError(
                f"{self.folder} has no weights: the run is unfinished, or shared without them; "
                "dq.fit with the same settings and another runs_dir trains it"
            )
        model = self.new_model()
        tensors, told = read_tensors(self.weights_file)
        if told.get("digest", self.settings["digest"]) != self.settings["digest"]:
            raise ValueError(f"{self.weights_file} belongs to another run; put the run's own weights there")
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"{self.weights_file} belongs to another network: {one_line(error)}") from error
        return model.eval()


def find_runs(runs_dir: str | Path | None = None) -> list[Run]:
    """All finished runs of this format below a folder, sorted by path; anything else there is passed over.

    Links to folders are followed. Where a file cannot be read, a warning names it.
    """
    root = Path(runs_dir).expanduser() if runs_dir is not None else default_runs_dir()
    found = (opened(folder) for folder in sorted(folders_below(root)))
    return [run for run in found if run is not None]


def folders_below(root: Path) -> Iterator[Path]:
    """The folders that may hold a finished run, links followed, each once."""
    seen: set[str] = set()
    for folder, inside, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
        # A finished run has a provenance beside its settings; settings alone may be anybody's.
        elif {SETTINGS, PROVENANCE} <= set(files):
            yield Path(folder)
        seen.add(real)


def opened(folder: Path) -> Run | None:
    """The finished run in a folder; None if there is something else."""
    try:
        if not is_run(read_json(folder / SETTINGS)):
            return None
        run = Run(folder)
        return run if run.finished else None
    except ValueError as error:
        warnings.warn(f"passed over: {error}", stacklevel=3)
        return None


def is_run(settings: Any) -> bool:
    """Whether the content of a settings file is that of a run of this format."""
    return isinstance(settings, dict) and settings.get("format") == FORMAT
