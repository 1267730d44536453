"""Where and in which precision is computed."""

import os
import subprocess
import sys

import pytest
import torch

from dqroute.models import device as engine
from dqroute.models.device import (
    COMPILE_FROM_OPERATIONS,
    COMPILE_FROM_STEPS,
    compiled,
    computes_in_bf16,
    precision_context,
    resolve_device,
    worth_compiling,
)

CPU = torch.device("cpu")


def product_type(precision: str) -> torch.dtype:
    with precision_context(precision, CPU):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def with_units(monkeypatch, *units: str) -> None:
    """A processor that has these and no other of the units asked for."""
    for unit in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{unit}_supported", lambda has=unit in units: has, raising=False)


def test_precision_by_name():
    assert product_type("fp32") == torch.float32
    assert product_type("bf16") == torch.bfloat16


def test_auto_follows_the_hardware():
    assert product_type("auto") == (torch.bfloat16 if computes_in_bf16(CPU) else torch.float32)


def test_auto_is_full_precision_where_nothing_tells_of_bf16(monkeypatch):
    with_units(monkeypatch)
    assert product_type("auto") == torch.float32


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        resolve_device("abacus")


def test_short_trainings_are_not_compiled_and_long_ones_are(monkeypatch):
    with_units(monkeypatch, "avx512_bf16", "amx_tile")
    monkeypatch.setattr(engine, "compiler_found", lambda device: True)
    assert not worth_compiling(COMPILE_FROM_OPERATIONS / 2, 10**6, CPU, bf16=True)
    assert worth_compiling(COMPILE_FROM_OPERATIONS, 1, CPU, bf16=True)
    assert not worth_compiling(1e18, 10**6, CPU, bf16=False)
    gpu = torch.device("cuda")
    for bf16 in (True, False):
        assert not worth_compiling(1e18, COMPILE_FROM_STEPS - 1, gpu, bf16)
        assert worth_compiling(0, COMPILE_FROM_STEPS, gpu, bf16)


def test_without_a_matrix_unit_nothing_is_compiled_unasked(monkeypatch):
    with_units(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(engine, "compiler_found", lambda device: True)
    assert not worth_compiling(1e18, 10**6, CPU, bf16=True)


def test_without_pythons_headers_a_processor_compiles_nothing(monkeypatch, tmp_path):
    """The kernels include them; on some systems they come in a package of their own."""
    with_units(monkeypatch, "amx_tile")
    monkeypatch.setattr(engine.shutil, "which", lambda name: "/usr/bin/g++")
    monkeypatch.setattr(engine.sysconfig, "get_path", lambda name: str(tmp_path))
    assert not worth_compiling(1e18, 10**6, CPU, bf16=True)
    (tmp_path / "Python.h").touch()
    assert worth_compiling(1e18, 10**6, CPU, bf16=True)


def test_nothing_is_compiled_without_a_compiler(monkeypatch):
    with_units(monkeypatch, "amx_tile")
    monkeypatch.setattr(engine.shutil, "which", lambda name: None)
    assert not worth_compiling(1e18, 10**6, CPU, bf16=True)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        compiled(torch.nn.Linear(2, 2), CPU)


@pytest.mark.parametrize("compiler", [None, "/usr/bin/g++"])
@pytest.mark.parametrize("triton", [None, object()], ids=["without", "with"])
def test_a_gpu_needs_triton_too(monkeypatch, tmp_path, compiler, triton):
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(engine.sysconfig, "get_path", lambda name: str(tmp_path))
    with_units(monkeypatch, "amx_tile")
    monkeypatch.setattr(engine.shutil, "which", lambda name: compiler)
    monkeypatch.setattr(engine, "find_spec", lambda name: triton)
    assert worth_compiling(1e18, 10**6, torch.device("cuda"), bf16=True) == bool(compiler and triton)
    assert worth_compiling(1e18, 10**6, CPU, bf16=True) == bool(compiler)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux does")
def test_freed_memory_is_kept():
    """A step that takes twelve blocks of 16 MB and gives them back, as the activations of a training step come and go,
    touches no page that is new once the C library keeps what was freed.

    Left alone, glibc keeps or returns such blocks as it happens; here it is told beforehand to return them all.
    """
    script = """
import resource, sys, torch
from dqroute.models.device import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
def step():
    [torch.ones(4 * 2**20) for _ in range(12)]
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    ask = [sys.executable, "-c", script]
    returning = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    kept, usual = (
        int(subprocess.run([*ask, way], capture_output=True, text=True, check=True, env=returning).stdout)
        for way in ("kept", "usual")
    )
    assert kept < usual / 10
