"""Where and in which precision to compute, and when to compile."""

from __future__ import annotations

import ctypes
import re
import shutil
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from dqroute.core.checks import choose

F = TypeVar("F", bound=Callable[..., Any])
# From where on a compiled network repays its compilation, three times over; see benchmarks/NOTES.md. On a CPU with a
# matrix unit, operations of the whole training (elsewhere the convolutions take nearly all the time, and compilation
# gains next to nothing); on a GPU, where launching kernels is what a small network waits for, its steps.
COMPILE_FROM_OPERATIONS = 3e14
COMPILE_FROM_STEPS = 3000


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name, ``"auto"`` being a GPU if there is one; ValueError for one that is not there."""
    name = str(name)
    if not re.fullmatch(r"[a-z]+(:\d+)?", name):
        raise ValueError(f"a device is 'auto', 'cpu', 'cuda' or 'cuda:1'; got {name!r}")
    choose("device", name if name.startswith("auto") else name.split(":")[0], ("auto", "cpu", "cuda"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device='cuda' was asked for, but torch sees no CUDA GPU; use device='cpu' or 'auto'")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; where it is emulated, fp32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return cpu_has("avx512_bf16") or cpu_has("amx_tile")


def cpu_has(unit: str) -> bool:
    """Whether the processor has ``"avx512_bf16"``, vectors of bfloat16, or ``"amx_tile"``, matrices of them."""
    # Asked of torch's private functions since no public one tells; an absent one counts as "no".
    check = getattr(torch.cpu, f"_is_{unit}_supported", None)
    return check is not None and bool(check())


def precision_context(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Autocast for a forward pass; what ``"fp32"`` is in a GPU's convolutions, ``cudnn.allow_tf32`` of torch says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


def uses_bf16(precision: str, device: torch.device) -> bool:
    """What a precision comes to on a device."""
    choose("precision", precision, ("auto", "bf16", "fp32"))
    return precision == "bf16" or (precision == "auto" and computes_in_bf16(device))


def keep_freed_memory() -> None:
    """Make the C library keep memory that was freed instead of handing it back to the system.

    A training step on a CPU frees and takes hundreds of megabytes, and the system clears every page it gives anew:
    a quarter of the time of a compiled step. Only glibc can be told; elsewhere nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD of glibc's malloc.h, the most it allows
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def compiler_found(device: torch.device) -> bool:
    """Whether all is there that ``torch.compile`` calls: a C++ compiler, and more.

    On a CPU that is Python's headers, which its kernels include and some systems ship apart; for a GPU Triton, which
    Windows lacks.
    """
    headers = Path(sysconfig.get_path("include"), "Python.h")
    more = find_spec("triton") is not None if device.type == "cuda" else headers.is_file()
    return more and any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl"))


def worth_compiling(operations: float, steps: int, device: torch.device, bf16: bool) -> bool:
    """Whether a training is long enough to repay the compilation of its network.

    Decided by the training's size alone, the ``operations`` of all passes and the optimizer's ``steps``, and not by a
    clock, so that the same run takes the same path every time and stays bit-identical.
    """
    if device.type == "cuda":
        return steps >= COMPILE_FROM_STEPS and compiler_found(device)
    return bf16 and cpu_has("amx_tile") and operations >= COMPILE_FROM_OPERATIONS and compiler_found(device)


def compiled(function: F, device: torch.device) -> F:
    """A function of tensors compiled for their shapes; on a GPU its kernels are recorded and replayed as one graph.

    There a call writes its outputs where the call before had them. ValueError without a compiler.
    """
    if not compiler_found(device):
        raise ValueError(
            "a compiled training, asked for by compile=True or begun as one, needs a C++ compiler (g++), Python's "
            "headers (python3-dev), and on a GPU Triton; install what is missing, or begin with compile=False"
        )
    mode = "reduce-overhead" if device.type == "cuda" else None
    return cast(F, torch.compile(function, mode=mode))
