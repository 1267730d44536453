"""Runs that are published: one JSON-lines file a table, a run a line, with all that a row needs to be made again."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from dqroute.data.disk import write_atomically
from dqroute.methods.base import Method
from dqroute.runs.run import EPOCHS, PROVENANCE, REPORT, SETTINGS, SPLITS, TRADE_OFF, WORLDS, Run

RESULTS = [form.format(split=split) for form in (REPORT, TRADE_OFF, WORLDS) for split in SPLITS]


class PublishedRun(Run):
    """A run as a line of a published file has it: settings, provenance, epochs, reports and curves, but no weights.

    Its ``folder`` is file and line, such as ``results/rivals.jsonl.xz:7``; its ``record`` the content of each file that
    the run folder had, by the file's name. ValueError if that is none of this format.
    """

    def __init__(self, place: str, record: Any) -> None:
        if not (isinstance(record, dict) and record.get(SETTINGS) and isinstance(record.get(EPOCHS, []), list)):
            raise ValueError(f"{place} holds no run of the format that this version reads")
        self.record = record
        super().__init__(place)

    def read(self, name: str) -> Any:
        return self.record.get(name)

    @property
    def seconds(self) -> float:
        return float(self.provenance["training_seconds"])

    @property
    def model(self) -> Method:
        again = f"python -m dqroute.training.reproduce {self.folder} DATA --runs-dir FOLDER trains the run again"
        raise FileNotFoundError(f"{self.folder} was published without weights; {again}")


def publish(runs: Iterable[Run], path: str | Path, without: Collection[str] = ()) -> list[PublishedRun]:
    """Write finished runs to a file and return all that it has now; one that it had stands where it stood.

    The file's name ends in ``.jsonl``, or in ``.jsonl.xz``, which takes an eighth of the space. Files of the run folder
    that are named in ``without`` are left out; of epochs :func:`compact` is kept. ValueError if a run is not finished,
    or the file that is there is something else.
    """
    records = {run.settings["digest"]: run.record for run in read_published(path)} if Path(path).is_file() else {}
    for run in runs:
        if not run.finished:
            raise ValueError(f"{run!r} cannot be published before it is finished")
        wanted = [name for name in (SETTINGS, EPOCHS, PROVENANCE, *RESULTS) if name not in without]
        record = {name: content for name in wanted if (content := run.read(name)) is not None}
        if EPOCHS in record:
            record[EPOCHS] = compact(record[EPOCHS], len(run.settings["class_names"]))
        records[run.settings["digest"]] = record
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in records.values()]
    content = "".join(lines).encode()
    write_atomically(
        Path(path), lzma.compress(content, preset=9 | lzma.PRESET_EXTREME) if Path(path).suffix == ".xz" else content
    )
    return read_published(path)


def compact(epochs: list[dict[str, Any]], classes: int) -> list[dict[str, Any]]:
    """The records of epochs, numbers in five digits, without lists of a value a class but for the last difficulty.

    That ranks classes, for which three digits will do. Nor do they have seconds, which no two trainings share; what
    they add up to the provenance tells.
    """
    lists = {name for record in epochs for name, v in record.items() if isinstance(v, list) and len(v) == classes}
    last, out = len(epochs), lists | {"seconds", "images_per_second"}
    return [
        {name: short(v) for name, v in record.items() if name not in out}
        | {name: short(v, 3) for name, v in record.items() if name == "difficulty" and at == last}
        for at, record in enumerate(epochs, start=1)
    ]


def short(value: Any, digits: int = 5) -> Any:
    """A number as published, to so many digits, or a list of such; anything else as it is."""
    if isinstance(value, list):
        return [short(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def read_published(path: str | Path) -> list[PublishedRun]:
    """The runs of a file that :func:`publish` wrote; ValueError names a line that holds none of this format."""
    runs, content = [], Path(path).read_bytes()
    try:
        content = lzma.decompress(content) if Path(path).suffix == ".xz" else content
    except lzma.LZMAError as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); restore the file") from error
    # Bytes, because text would be cut at more than line feeds.
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}:{number} is not readable JSON ({error}); restore the file") from error
        runs.append(PublishedRun(f"{path}:{number}", record))
    return runs


def open_run(place: str | Path) -> Run:
    """The run in a folder or in a line of a published file, ``runs/glyphs/NAME`` or ``results/rivals.jsonl.xz:7``.

    FileNotFoundError if there is no such place, ValueError if what is there is damaged or of another format.
    """
    if (line := re.fullmatch(r"(.+\.jsonl(?:\.xz)?)(?::(.*))?", str(place))) is None:
        return Run(place)
    runs, number = read_published(line[1]), int(line[2]) if (line[2] or "").isdecimal() else 0
    if not 1 <= number <= len(runs):
        raise FileNotFoundError(f"which run? {line[1]} has the lines 1 to {len(runs)}, as in {line[1]}:1; got {place}")
    return runs[number - 1]
