"""What the processors take, where the system tells."""

from __future__ import annotations

import time
from pathlib import Path

# Seconds. In half an hour or more a counter starts again, and twice would go unnoticed.
LONGEST = 20 * 60
# Linux's counters of the processors' packages (RAPL), one folder each; often readable by the administrator only.
COUNTERS = Path("/sys/class/powercap")


class EnergyMeter:
    """Adds up the energy of the machine's processor packages: the whole machine's, whatever else runs on it.

    Graphics processors and the rest of the machine are not in it. Nothing is estimated: where a counter cannot be read
    there is no number.

    Args:
        folder: where the counters are.
    """

    def __init__(self, folder: Path = COUNTERS) -> None:
        # A package's parts (core, dram) are in it already; psys, where there is one, has the packages in it. AMD's
        # counters carry the same folder's name.
        self.counters = sorted(folder.glob("intel-rapl:[0-9]*/energy_uj"))
        self.counters = [counter for counter in self.counters if is_package(counter.with_name("name"))]
        self.last, self.read_at = self.read(), time.monotonic()

    def read(self) -> list[tuple[int, int]] | None:
        """Each counter in microjoules and the number at which it starts again; None where there is none to read."""
        try:
            found = [(int(c.read_text()), int((c.parent / "max_energy_range_uj").read_text())) for c in self.counters]
        except (OSError, ValueError):
            return None
        return found or None

    def since_last(self) -> float | None:
        """Joules since the last call, or since the beginning.

        None where no counter can be read, or was read so long ago that it may have started again more than once.
        """
        before, then = self.last, self.read_at
        self.last, self.read_at = self.read(), time.monotonic()
        if before is None or self.last is None or self.read_at - then > LONGEST:
            return None
        return sum((now - was) % most for (now, most), (was, _) in zip(self.last, before, strict=True)) / 1e6


def is_package(name: Path) -> bool:
    """Whether the file beside a counter says that it is a whole processor package's."""
    try:
        return name.read_text().startswith("package")
    except OSError:
        return False
