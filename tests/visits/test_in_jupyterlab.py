"""A moving figure in live JupyterLab: it answers to mouse and keys as it does in the book."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from training import nearest_means

import dqroute as dq
from dqroute import show

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.posix]


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab in a folder with ``figure.ipynb``, whose one cell has shown the knob."""
    data = dq.load("photographs")
    shown = nbformat.v4.new_output("display_data", {"text/html": show.knob(nearest_means(data), data).page})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cell = nbformat.v4.new_code_cell("show.knob(said, data)", outputs=[shown], execution_count=1)
    notebook = nbformat.v4.new_notebook(metadata=kernel, cells=[cell])
    nbformat.write(notebook, tmp_path / "figure.ipynb")
    # As whoever ran it may trust it: no kernel has to start before scripts run.
    (tmp_path / "data").mkdir()
    NotebookNotary(data_dir=str(tmp_path / "data")).sign(nbformat.read(tmp_path / "figure.ipynb", as_version=4))
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--IdentityProvider.token=ours"]
    told = open(tmp_path / "told.txt", "w+b")  # noqa: SIM115
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | own, stdout=told, stderr=told)
    try:
        while not (found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", said_in(told.name))):
            assert process.poll() is None, said_in(told.name)
        yield f"http://localhost:{found[1]}/lab/tree/figure.ipynb?token=ours&reset"
    finally:
        # Asked to end it may wait for what it looks for on the network; there is no kernel, and nothing to save.
        process.kill()
        process.wait()
        told.close()


def said_in(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def test_sliders_keep_their_keys_from_the_notebook(chromium, lab):
    page = chromium.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(600_000)
    page.goto(lab)
    slider = page.get_by_label("your mark")
    slider.click()
    start = float(slider.input_value())
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > start
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert float(slider.input_value()) > 2
    page.get_by_role("button", name="Set the mark").press("Enter")
    page.get_by_role("button", name="Set the mark").wait_for(state="detached")
    page.close()
