"""The run folder: what was asked, how it went, what came out.

One folder a run, named after method, seed and a digest of everything that decides the result, so that the same run
asked for again is found. All files are JSON or safetensors; nothing is pickled.

    settings.json        what was asked: method, options, training settings, seed, data set, class counts
    provenance.json      code version, packages, machine, pixels' fingerprint; "finished" when the training is
    epochs.jsonl         one line an epoch: loss, accuracy, rate, seconds, and what the method tells of itself
    checkpoint.safetensors   the state after each epoch, and every few minutes, until the run is finished
    .lock                held by the process that trains the run, until it is finished
    weights.safetensors  the trained network
    report-test.json     the evaluation (and report-val.json)
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dqroute.core.checks import choose, one_line
from dqroute.core.long_tail import ShotGroups
from dqroute.data.disk import read_json, read_json_lines, read_tensors, write_json
from dqroute.data.image_set import ImageSet, Split
from dqroute.methods.base import METHODS, Method, Problem
from dqroute.runs.locking import only_process
from dqroute.runs.report import Report

if TYPE_CHECKING:
    import pandas

FORMAT = 1


def default_runs_dir() -> Path:
    """``$DQROUTE_RUNS``, or ``runs`` in the working folder."""
    return Path(os.environ.get("DQROUTE_RUNS", "runs")).expanduser()


def problem_to_json(problem: Problem) -> dict[str, Any]:
    """A problem as plain values."""
    return asdict(problem) | {"counts": problem.counts.tolist()}


def problem_from_json(value: dict[str, Any]) -> Problem:
    """The inverse of :func:`problem_to_json`."""
    groups = value["groups"]
    shots = ShotGroups(tuple(groups["many"]), tuple(groups["medium"]), tuple(groups["few"]), groups["rule"])
    size = tuple(value["size"]) if value.get("size") else None
    given = {"counts": torch.tensor(value["counts"]), "groups": shots}
    return Problem(**(value | given | {"mean": tuple(value["mean"]), "std": tuple(value["std"]), "size": size}))


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


class Run:
    """A training run on disk.

    Attributes:
        folder: where it lies.
        settings: the content of ``settings.json``.
        data: the image set it was trained on, if this process has it; :func:`dqroute.evaluate` wants it.
    """

    def __init__(self, folder: str | Path, data: ImageSet | None = None) -> None:
        """Open an existing run.

        Raises:
            FileNotFoundError: if the folder holds no run.
            ValueError: if its files are damaged or of another format.
        """
        self.folder, self.data = Path(folder).expanduser(), data
        if not (self.folder / "settings.json").is_file():
            raise FileNotFoundError(f"{self.folder} holds no run: it has no settings.json")
        self.settings: dict[str, Any] = read_json(self.folder / "settings.json")
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
            request: everything that decides the result, JSON-ready: method, options, training, seed, data.

        Raises:
            ValueError: if the method refuses its options or the network's settings (no folder is made then), or if the
                folder's settings are no longer those it was made for.
        """
        folder = folder_of(runs_dir, request, data.name)
        head = {"format": FORMAT, "digest": digest_of(request)}
        if not (folder / "settings.json").is_file():
            build(request, problem)
            described = {"problem": problem_to_json(problem), "class_names": list(data.class_names)}
            with only_process(folder):
                write_json(folder / "settings.json", head | request | described)
        run = cls(folder, data)
        changed = [name for name in request if canonical(run.settings.get(name)) != canonical(request[name])]
        if changed or run.settings.get("digest") != head["digest"]:
            raise ValueError(
                f"{folder / 'settings.json'} was changed after the run was made ({', '.join(changed) or 'digest'} "
                "differs); restore it, or remove the folder to train the run again"
            )
        names = list(data.class_names)
        if run.settings["class_names"] != names:
            # They decide nothing but how answers are called; the newer ones are the corrected ones.
            run.settings["class_names"] = names
            write_json(folder / "settings.json", run.settings)
        return run

    def warn_of_other_images(self, data: ImageSet) -> None:
        """Warn if the run was trained on other pixels than these, read from files of the same names and sizes.

        No error, because two machines may decode a JPEG file a little differently. What a set draws itself may differ
        as little and is not compared, nor are images that stay in their files.
        """
        known = self.provenance.get("data_fingerprint")
        read = "files" in data.identity and isinstance(data.train, Split)
        if known is not None and read and known != data.fingerprint():
            warnings.warn(
                f"the images of {data.name} are not to the bit those that {self.folder} was trained on; if they were "
                "changed, choose another runs_dir, or remove the folder to train it again",
                stacklevel=3,
            )

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.epochs)} epochs so far"
        return f"Run({str(self.folder)!r}, {state})"

    @property
    def method(self) -> str:
        """The method's name."""
        return self.settings["method"]

    @property
    def seed(self) -> int:
        """The seed of weights, order and augmentation."""
        return self.settings["seed"]

    @property
    def finished(self) -> bool:
        """Whether the training ran to its end (its weights may have been left out when the folder was shared)."""
        return "finished" in self.provenance

    @property
    def checkpoint_file(self) -> Path:
        """Where the latest state of the training lies until the run is finished."""
        return self.folder / "checkpoint.safetensors"

    @property
    def weights_file(self) -> Path:
        """Where the trained network lies."""
        return self.folder / "weights.safetensors"

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs done."""
        path = self.folder / "epochs.jsonl"
        return read_json_lines(path) if path.is_file() else []

    @property
    def provenance(self) -> dict[str, Any]:
        """Code version, packages, machine, times; empty before the training starts."""
        path = self.folder / "provenance.json"
        return read_json(path) if path.is_file() else {}

    @property
    def seconds(self) -> float:
        """Training time, the sum over epochs, evaluation and interruptions left out."""
        return sum(record["seconds"] for record in self.epochs)

    @property
    def groups(self) -> ShotGroups:
        """The shot groups of the training set."""
        return problem_from_json(self.settings["problem"]).groups

    def new_model(self) -> Method:
        """The run's model as it was before training, drawn from the run's seed."""
        return build(self.settings, problem_from_json(self.settings["problem"]))

    @cached_property
    def model(self) -> Method:
        """The trained model, ready to predict.

        Raises:
            FileNotFoundError: if the run is not finished, or its weights were left out of the folder.
        """
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

    def report(self, split: str = "test") -> Report | None:
        """The evaluation on a split, if there is one."""
        path = self.folder / f"report-{split}.json"
        if not path.is_file():
            return None
        try:
            return Report.from_json(read_json(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; remove the file and evaluate the run again") from error


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
        # A finished run has a provenance beside its settings; a settings.json alone may be anybody's.
        elif {"settings.json", "provenance.json"} <= set(files):
            yield Path(folder)
        seen.add(real)


def opened(folder: Path) -> Run | None:
    """The finished run in a folder; None if there is something else."""
    try:
        if not is_run(read_json(folder / "settings.json")):
            return None
        run = Run(folder)
        return run if run.finished else None
    except ValueError as error:
        warnings.warn(f"passed over: {error}", stacklevel=3)
        return None


def is_run(settings: Any) -> bool:
    """Whether the content of a ``settings.json`` is that of a run of this format."""
    return isinstance(settings, dict) and settings.get("format") == FORMAT


def described(data: dict[str, Any]) -> dict[str, Any]:
    """The properties of a data set, its seed told from the run's."""
    return {"data seed" if name == "seed" else name: value for name, value in data.items()}


def table(runs: str | Path | Iterable[Run] | None = None) -> pandas.DataFrame:
    """What run folders tell, one row a run.

    Columns: ``method``, ``data``, ``seed``; the options, training settings and properties of the data set (its seed as
    ``data seed``) that are not the same in all runs that have them; ``overall``, ``many``, ``medium`` and ``few``, the
    test accuracies in %, if the run was evaluated; ``minutes`` of training; ``kilojoules`` of the processors, if the
    machine told; ``commit``, and whether the code was ``clean``; ``device``, ``finished`` and ``folder``.

    Args:
        runs: a folder, below which all finished runs are taken; runs; or None for the default folder.
    """
    # Here, because pandas takes half a second to import and training does without.
    import pandas

    found = find_runs(runs) if runs is None or isinstance(runs, (str, Path)) else list(runs)
    asked = [run.settings["options"] | run.settings["training"] | described(run.settings["data"]) for run in found]
    values: dict[str, set[str]] = {}
    for settings in asked:
        for name, value in settings.items():
            values.setdefault(name, set()).add(json.dumps(canonical(value), sort_keys=True))
    differing = [name for name in values if len(values[name]) > 1 and name != "name"]
    rows = []
    for run, settings in zip(found, asked, strict=True):
        made, report, machine = run.provenance, run.report(), run.provenance.get("machine", {})
        energy = made.get("cpu_joules")
        row = {"method": run.method, "data": run.settings["data"]["name"], "seed": run.seed}
        row |= {name: settings.get(name) for name in differing}
        for group in ("overall", "many", "medium", "few"):
            accuracy = getattr(report, group) if report else None
            row[group] = None if accuracy is None else 100 * accuracy
        row |= {"minutes": run.seconds / 60, "kilojoules": None if energy is None else energy / 1e3}
        row |= {"commit": made.get("commit"), "clean": made.get("clean"), "device": machine.get("device")}
        rows.append(row | {"finished": made.get("finished"), "folder": str(run.folder)})
    return pandas.DataFrame(rows)
