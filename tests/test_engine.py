"""Where and in which precision is computed."""

import pytest
import torch

from dqroute.engine import computes_in_bf16, precision_context, resolve_device

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
