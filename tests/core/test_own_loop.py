"""The page that shows the core in other people's loops: its code runs as it stands there, and learns."""

import re
import warnings
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).resolve().parents[2] / "book" / "own_loop.md").read_text(encoding="utf-8")
DATA, PLAIN, LIGHTNING = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def data() -> dict:
    torch.manual_seed(0)
    names: dict = {}
    exec(DATA, names)
    return names


def test_the_plain_loop_has_25_lines_and_learns(data):
    assert len(PLAIN.splitlines()) <= 27 and PLAIN.count("\n") - PLAIN.count("\n\n") <= 25
    exec(PLAIN, data)
    right = data["fused"].log_probability.argmax(dim=1) == data["labels"][data["test"]]
    assert right.float().mean() > 0.75
    assert not torch.equal(data["criterion"].class_weights, torch.ones(10))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_lightning_module_learns(data, precision, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = pytest.importorskip("lightning")
    exec(LIGHTNING, data)
    module = data["NestedExperts"](data["counts"])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=15,
        precision=precision,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        **quiet,
    )
    trainer.fit(module, data["loader"])
    test, labels = data["test"], data["labels"]
    held = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data["images"][test]), batch_size=500)
    (answers,) = trainer.predict(module, held)
    assert (answers == labels[test]).float().mean() > 0.75
    assert not torch.equal(module.criterion.class_weights.cpu(), torch.ones(10))
