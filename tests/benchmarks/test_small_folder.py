"""The proof on small folders runs, finds again what it measured, and what it tells hangs together."""

import json

import pytest
import small_folder
from training import save_digits

import dqroute as dq

pytestmark = pytest.mark.weekly


def test_the_proof_is_rehearsed_on_digits(tmp_path, monkeypatch, capsys):
    """Three classes of scanned digits, twelve pictures of the most frequent; the others are strangers."""
    for name, value in {
        "COUNTS": (12, 8, 5),
        "BURSTS": (4, 3, 3),
        "NEW": 6,
        "PILE": 12,
        "ASKED": 3,
        "MOVED": 6,
    }.items():
        monkeypatch.setattr(small_folder, name, value)
    for name in ("CACHE", "RUNS"):
        monkeypatch.setenv(f"DQROUTE_{name}", str(tmp_path / name))
    digits = dq.load("digits", imbalance=None)
    for part in ("train", "test"):
        save_digits(getattr(digits, part), tmp_path / "tree" / part, "digit {}", 32)
    work, output = tmp_path / "work", tmp_path / "found.json"
    given = [str(tmp_path / "tree"), str(tmp_path / "tree" / "test" / "digit 9"), "--draws", "0", "1"]
    given += ["--work", str(work), "--output", str(output)]
    small_folder.main(given, backbone="gradient-histograms", epochs=3, device="cpu")

    found = json.loads(output.read_text())
    assert list(found) == ["0", "1"] and list(found["0"]) == list(found["1"])
    # Of answers that nobody gave none is right.
    assert all(0 <= value <= 100 or value != value for numbers in found.values() for value in numbers.values())
    own, new, strange = (
        {path.name for path in (work / "draw-1" / part).iterdir()} for part in ("pictures", "new", "strangers")
    )
    assert own == new and strange and not own & strange
    assert len(list((work / "draw-1" / "pictures").rglob("*.jpg"))) == 25
    assert found["0"]["wrong labels"] == pytest.approx(
        100 * len(list((work / "draw-0").rglob("moved-*"))) / 25, abs=0.01
    )
    before = capsys.readouterr().out
    small_folder.main(given, backbone="none, for nothing is trained again")
    assert capsys.readouterr().out == before and "dqroute, new" in before
