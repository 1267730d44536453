"""Where a result comes from: code version, packages, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow", "matplotlib")


def package_version(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_state(package: Path) -> dict[str, Any]:
    """Commit of the checkout the package runs from, and whether its files were changed; empty when it is none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # A site-packages folder may lie inside somebody else's repository; its commit says nothing about this code.
        if not git("ls-files", "runs/provenance.py"):
            return {}
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain", "--", ".")}
    except (OSError, subprocess.SubprocessError):
        return {}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def processor(description: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, with family and model where Linux tells: a virtual machine may leave them out of it."""
    try:
        first = description.read_text().partition("\n\n")[0]
    except OSError:
        first = ""
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    name = told.get("model name") or platform.processor() or platform.machine()
    kind = [f"{word} {told[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in told]
    return f"{name} ({', '.join(kind)})" if kind else name


def provenance(device: torch.device) -> dict[str, Any]:
    """What a run folder records of the code and the machine, JSON-ready and free of host names and paths."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "dqroute": package_version("dqroute"),
        **git_state(Path(__file__).resolve().parents[1]),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": gpu or "cpu",
        },
        "started": now(),
    }
