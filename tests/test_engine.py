"""Where and in which precision is computed."""

import subprocess
import sys

import pytest
import torch

from dqroute import engine
from dqroute.engine import (
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


def test_precision_by_name():
    assert product_type("fp32") == torch.float32
    assert product_type("bf16") == torch.bfloat16


def test_auto_follows_the_hardware():
    assert product_type("auto") == (torch.bfloat16 if computes_in_bf16(CPU) else torch.float32)


def test_auto_is_full_precision_where_nothing_tells_of_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert product_type("auto") == torch.float32


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        resolve_device("abacus")


def test_short_trainings_are_not_compiled_and_long_ones_are(monkeypatch):
    monkeypatch.setattr(engine, "compiler_found", lambda: True)
    assert not worth_compiling(COMPILE_FROM_OPERATIONS / 2, 10**6, CPU)
    assert worth_compiling(COMPILE_FROM_OPERATIONS, 1, CPU)
    gpu = torch.device("cuda")
    assert not worth_compiling(1e18, COMPILE_FROM_STEPS - 1, gpu)
    assert worth_compiling(0, COMPILE_FROM_STEPS, gpu)


def test_nothing_is_compiled_without_a_compiler(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda name: None)
    assert not worth_compiling(1e18, 10**6, CPU)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        compiled(torch.nn.Linear(2, 2), CPU)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux does")
def test_freed_memory_is_kept():
    """Filling a block of 16 MB again touches no page that is new, once the C library keeps what was freed."""
    script = """
import resource, sys, torch
from dqroute.engine import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
fill = lambda: torch.ones(4 * 2**20)
fill(), fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    ask = [sys.executable, "-c", script]
    kept, usual = (
        int(subprocess.run([*ask, way], capture_output=True, text=True, check=True).stdout) for way in ("kept", "usual")
    )
    assert kept < usual / 10
