"""The machine's own limit: how fast it multiplies large matrices in the engine's precision."""

from __future__ import annotations

import time

import torch

from dqroute.models.device import computes_in_bf16


def ceiling(device: torch.device, size: int = 4096) -> float:
    """GFLOP/s of the fastest of five products of two square matrices."""
    dtype = torch.bfloat16 if computes_in_bf16(device) else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(5):
        wait_for(device)
        started = time.perf_counter()
        a @ b
        wait_for(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times) / 1e9


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
