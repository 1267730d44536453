"""``python -m dqroute.sweep GRID.yaml`` runs a grid and prints its table and what failed: 1 if anything did."""

import argparse
import sys
from pathlib import Path

from dqroute.sweep.document import read_document
from dqroute.sweep.notebook import NOTEBOOK


def main(arguments: list[str] | None = None) -> int:
    """Run the grid that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m dqroute.sweep", description="Run a grid; see dqroute.sweep.grid.")
    parser.add_argument("grid", type=Path, metavar="GRID.yaml")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, such as tcp://10.0.0.1:8786")
    where.add_argument("--workers", type=int, metavar="N", help="processes on this machine")
    where.add_argument("--here", action="store_true", help="train in this process, without notebooks: for short runs")
    parser.add_argument("--runs-dir", type=Path, help="where run folders and executed notebooks go")
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    chosen = parser.parse_args(arguments)
    try:
        # Torch and Dask take seconds to load: what is no grid is told before.
        read_document(chosen.grid)
        from dqroute.sweep.sweep import sweep

        done = sweep(**vars(chosen))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        print("\nstopped: what was trained is saved; the same command goes on from there", file=sys.stderr)
        return 130
    print(f"\n{done}")
    return 1 if done.failures else 0


if __name__ == "__main__":
    sys.exit(main())
