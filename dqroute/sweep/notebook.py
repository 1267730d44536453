"""The main job: papermill runs the benchmark notebook, and its table is printed.

``python -m dqroute.sweep.notebook`` takes the notebook's parameters as ``name=value``, values in JSON or plain text:

    python -m dqroute.sweep.notebook dataset=folder:pictures imbalance=null seeds=[0,1,2]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NOTEBOOK = Path("book/benchmark.ipynb")
# As measured; it is a multiple where other work has the cores.
DURATION = ": four trainings on photographs, about a minute where two processor cores are idle"
# For the processes that we start: no spinning threads where cores are shared, and no talk of debuggers.
QUIET = {"OMP_WAIT_POLICY": "passive", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def parse_parameter(text: str) -> tuple[str, Any]:
    """``name=value``, the value in JSON or plain text; ArgumentTypeError without a name or an equals sign."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"a parameter is written name=value; got {text!r}")
    return name, json_or_text(value)


def json_or_text(text: str) -> Any:
    """What JSON makes of a text, or else the text itself."""
    with suppress(ValueError):
        return json.loads(text)
    return text


def execute(notebook: Path, output: Path, parameters: dict[str, Any], screen: Any = None) -> Any:
    """The notebook, executed in a quiet kernel, whose error stream goes to ``screen``.

    PapermillExecutionError if a cell raises, RuntimeError if the kernel dies.
    """
    # Here, so that importing the package needs no papermill.
    import papermill

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Seconds for a kernel to answer: many that start at once on a shared disk take their time. An idle kernel that is
    # told to end reports the interrupt as an error: it is none.
    more = {"start_timeout": 300, "extra_arguments": ["--IPKernelApp.log_level=CRITICAL"], "stderr_file": screen}
    return papermill.execute_notebook(notebook, output, parameters, progress_bar=False, **more)


def end_kernels() -> Any:
    """Have the kernels that this process or its workers started save their trainings and end; returns the kernels."""
    import psutil  # type: ignore[import-untyped]

    kernels = [p for p in psutil.Process().children(recursive=True) if "ipykernel_launcher" in p.cmdline()]
    for kernel in kernels:
        kernel.terminate()
    return kernels


def table_of(notebook: Any) -> str:
    """What the cell tagged ``table`` of an executed notebook printed."""
    tables = [cell for cell in notebook.cells if "table" in cell.metadata.get("tags", [])]
    return "".join(output.text for cell in tables for output in cell.outputs if output.output_type == "stream")


def main(arguments: list[str] | None = None) -> int:
    """Run the notebook and print its table and where its outputs are; 130 if Ctrl-C ended it."""
    parser = argparse.ArgumentParser(prog="python -m dqroute.sweep.notebook", description=__doc__)
    parser.add_argument("parameters", nargs="*", metavar="name=value", type=parse_parameter)
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark.ipynb"), help="the executed notebook")
    chosen = parser.parse_args(arguments)
    if not chosen.notebook.is_file():
        parser.error(f"there is no notebook {chosen.notebook}; run this from the repository's root")
    try:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.touch()
    except OSError as error:
        parser.error(f"cannot write {chosen.output} ({error.strerror}); name another file with --output")
    given, stopped = dict(chosen.parameters), list[bool]()

    def stop(*_: Any) -> None:
        """Wait for the kernel to end, its training saved; without a kernel, or told again, end at once."""
        if stopped or not end_kernels():
            raise KeyboardInterrupt
        stopped.append(True)
        logging.disable()

    screen = SimpleNamespace(write=lambda text: stopped or sys.stderr.write(text), flush=sys.stderr.flush)
    before = signal.signal(signal.SIGINT, stop)
    try:
        print(f"running {chosen.notebook}{'' if given else DURATION} …", flush=True)
        executed = execute(chosen.notebook, chosen.output, given, screen)
    except (Exception, KeyboardInterrupt) as error:
        if stopped or isinstance(error, KeyboardInterrupt):
            saved = f"saved in {given.get('runs_dir') or os.environ.get('DQROUTE_RUNS', 'runs')}"
            print(f"\nstopped: what was trained is {saved}; the same command goes on from there", file=sys.stderr)
            return 130
        # What a cell raised, or what became of the kernel.
        kind, said = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
        print(f"{kind}: {said}\nThe notebook up to there: {chosen.output}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, before)
    print(f"\n{table_of(executed)}\nexecuted notebook: {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
