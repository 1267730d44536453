"""Where and in which precision to compute."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from dqroute.checks import choose


def resolve_device(name: str) -> torch.device:
    """``"auto"``: the first CUDA GPU, or else the CPU.

    Raises:
        ValueError: for an unknown device, or CUDA where there is none.
    """
    choose("device", name.split(":")[0], ("auto", "cpu", "cuda"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device='cuda' was asked for, but torch sees no CUDA GPU; use device='cpu' or 'auto'")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; where it is emulated, fp32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Asked of torch's private functions since no public one tells; absent ones count as "no".
    checks = (getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("avx512_bf16", "amx_tile"))
    return any(bool(check()) for check in checks if check is not None)


def precision_context(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Autocast for the network's forward pass: ``"bf16"``, ``"fp32"``, or ``"auto"``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


def uses_bf16(precision: str, device: torch.device) -> bool:
    """What a precision comes to on a device."""
    return precision == "bf16" or (precision == "auto" and computes_in_bf16(device))
