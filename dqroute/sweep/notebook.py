"""The main job: papermill runs the benchmark notebook, and its table is printed.

``python -m dqroute.sweep.notebook`` takes the notebook's parameters as ``name=value``, values in JSON or plain text:

    python -m dqroute.sweep.notebook dataset=folder:pictures imbalance=null seeds=[0,1,2]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

NOTEBOOK = Path("book/benchmark.ipynb")


def parse_parameter(text: str) -> tuple[str, Any]:
    """``name=value``; the value is JSON where it can be read as such, and text otherwise.

    Raises:
        argparse.ArgumentTypeError: without a name or an equals sign.
    """
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"a parameter is written name=value; got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def table_of(notebook: Any) -> str:
    """What the cell tagged ``table`` of an executed notebook printed."""
    lines = []
    for cell in notebook.cells:
        if "table" in cell.metadata.get("tags", []):
            lines += [output.text for output in cell.outputs if output.output_type == "stream"]
    return "".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the notebook and print its table and where its outputs are."""
    # Here, so that importing the package needs no papermill.
    import papermill

    parser = argparse.ArgumentParser(prog="python -m dqroute.sweep.notebook", description=__doc__)
    parser.add_argument("parameters", nargs="*", metavar="name=value", type=parse_parameter)
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark.ipynb"), help="the executed notebook")
    chosen = parser.parse_args(arguments)
    if not chosen.notebook.is_file():
        parser.error(f"there is no notebook {chosen.notebook}; run this from the repository's root")
    # papermill logs what the kernel writes to its error stream, the progress bars, as warnings.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.touch()
    except OSError as error:
        parser.error(f"cannot write {chosen.output} ({error.strerror}); name another file with --output")
    print(f"running {chosen.notebook} …", flush=True)
    try:
        executed = papermill.execute_notebook(
            chosen.notebook,
            chosen.output,
            dict(chosen.parameters),
            log_output=True,
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}\nThe notebook up to there: {chosen.output}", file=sys.stderr)
        return 1
    print(f"\n{table_of(executed)}\nexecuted notebook: {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
