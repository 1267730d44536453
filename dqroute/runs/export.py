"""A trained run as one file for elsewhere: probabilities from pixels, as a program of torch or as ONNX."""

from __future__ import annotations

import copy
import io
import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dqroute.core.checks import choose, one_line, shown
from dqroute.data.disk import write_atomically
from dqroute.data.feature_set import as_wanted, projected
from dqroute.data.options import names_checked
from dqroute.measures.worlds import class_shifts
from dqroute.methods.base import Method
from dqroute.models.device import uses_bf16
from dqroute.models.encoders import pooled
from dqroute.models.experts import ExpertNetwork
from dqroute.models.folding import for_prediction
from dqroute.runs.run import Run, RunOrFolder, opened

WANTED = ("onnx", "onnxscript", "onnxruntime")
PROBED = 64  # pictures that float32 is held against bfloat16 on
SAME = 1e-4  # how far an exported probability may lie from the model's own


class Whole(nn.Module):
    """A model from pixels to probabilities, in float32: normalisation, encoder, experts, fusion."""

    shifts: Tensor

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        self.encoder: nn.Module | None = None
        if isinstance(self.model.network, ExpertNetwork):
            self.model.network = for_prediction(self.model.network, bf16=False)
        else:
            encoder = model.encoder.cpu()
            self.encoder = encoder.network
            self.model.mean, self.model.std = encoder.mean, encoder.std
        # Worked out here: a program need not count classes.
        self.register_buffer("shifts", class_shifts(self.model.calibration.rings, self.model.shares))

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities ``[N, C]`` of pixels, uint8 ``[N, channels, H, W]``."""
        model, seen = self.model, self.model.normalise(pixels)
        if self.encoder is not None:
            seen = projected(pooled(self.encoder, seen), model.centre, model.scale, model.axes)
        return (model.fuse(model.network(seen)).log_probability + self.shifts).softmax(dim=1)


@names_checked
@torch.no_grad()
def export(run: RunOrFolder, path: str | os.PathLike[str]) -> Path:
    """Write the model of a finished run into one file that gives probabilities of pixels, without this package.

    ``"model.onnx"`` is for onnxruntime and its kind, ``"model.pt2"`` for ``torch.export.load``. Each takes ``pixels``,
    uint8 ``[N, channels, H, W]`` (RGB, 0 to 255), any number of pictures at a time, made the squares that the metadata
    tell of, and gives ``probabilities``, float32 ``[N, C]``. Normalisation, encoder, experts and fusion are inside, and
    what ``run.model.adapt`` has learned. The program has to say what the model says in float32, to 1e-4. What is there
    under that name is replaced.

    :func:`dqroute.classify` computes in bfloat16 where the hardware does: then the two are apart, and a line says how
    far. Of 60 new photographs of 12 classes (``benchmarks/small_folder.py``, four draws) they were apart by 0.01 in the
    median and by 0.06 to 0.23 at most, and one to three had another answer.

    The metadata have ``class_names``, a JSON list in the order of the probabilities; ``size``, ``[H, W]``;
    ``interpolation`` and ``fit``, by which pictures are made squares; ``run``, the folder's name. They are in
    ``session.get_modelmeta().custom_metadata_map``, and in the ``extra_files`` of ``torch.export.load``.

    Raises:
        ValueError: for another ending, and for a network that cannot be exported, such as one whose steps depend on
            what it sees.
        ModuleNotFoundError: if packages are missing that ONNX takes.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"a model is exported into a file that ends in .onnx or .pt2; got {shown(path)}")
    run, path = opened(run), Path(path).expanduser()
    kind = choose("ending of an exported file", path.suffix, (".onnx", ".pt2"))
    if kind == ".onnx" and (missing := [name for name in WANTED if find_spec(name) is None]):
        raise ModuleNotFoundError(f"ONNX takes {', '.join(missing)}: pip install 'dqroute[export]', or write a .pt2")
    model = run.model
    whole, needs = Whole(model), model.needs
    size = list(model.size or ()) if needs is None else [needs.size, needs.size]
    told = {"class_names": run.settings["class_names"], "size": size, "fit": model.fit, "run": run.folder.name}
    told |= {"interpolation": "bicubic" if needs is None else needs.interpolation}
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}
    probe = torch.randint(
        0, 256, (3, model.mean.shape[1], *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of what it is about to change
            program = torch.export.export(whole, (probe,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            content, said = (as_onnx if kind == ".onnx" else as_program)(program, metadata, probe)
    # What a tracer cannot follow it tells by errors of many kinds.
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        raise ValueError(
            f"{model.backbone} cannot be exported as {kind} ({one_line(cause)[:300]}); try the other of .onnx and .pt2,"
            " or train on another backbone"
        ) from error
    if (apart := (said - whole(probe)).abs().max().item()) > SAME:
        raise ValueError(f"{model.backbone} exported as {kind} says something else, by {apart:.2g}: nothing is written")
    write_atomically(path, content, "name another file")
    if uses_bf16("auto" if needs else model.precision, model.mean.device):
        print(
            f"{path.name} computes in float32, dq.classify here in bfloat16{apart_on_pictures(run, whole)}; "
            "thresholds chosen here do not carry over exactly"
        )
    return path


def apart_on_pictures(run: Run, whole: Whole) -> str:
    """How far float32 is from what the run says of pictures of its set, in words; ``""`` if they are not at hand."""
    if run.data is None:
        return ""
    split, needs = run.data.test or run.data.train, run.model.needs
    try:
        pictures = split.take(torch.linspace(0, len(split) - 1, min(PROBED, len(split))).long())
    except (AttributeError, ValueError):  # features alone, or files that are damaged since
        return ""
    said = run.model.predict(pictures).probabilities
    seen = pictures if needs is None else as_wanted(pictures, needs.size, needs.interpolation)
    apart = (whole(seen) - said).abs().amax(dim=1)
    told = f"{apart.median():.2g} in the median and {apart.max():.2g} at most"
    return f": of {len(apart)} pictures of {run.data.name} probabilities are apart by {told}"


def as_program(program: Any, metadata: dict[str, str], probe: Tensor) -> tuple[bytes, Tensor]:
    """An exported program as a file's content, and what it then says of pixels."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files=metadata)
    return file.getvalue(), program.module()(probe)


def as_onnx(program: Any, metadata: dict[str, str], probe: Tensor) -> tuple[bytes, Tensor]:
    """An exported program as ONNX, and what onnxruntime then says of pixels."""
    import onnxruntime

    made = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["pixels"], output_names=["probabilities"]
    )
    assert made is not None
    made.model.metadata_props.update(metadata)
    content = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, torch.from_numpy(session.run(None, {"pixels": probe.numpy()})[0])
