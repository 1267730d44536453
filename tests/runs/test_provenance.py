"""What is recorded of code and machine, and what is not."""

import json
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from dqroute.runs.provenance import PACKAGES, git_state, now, package_version, processor, provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A committed repository with this package's folder in it."""
    package = tmp_path / "dqroute"
    (package / "runs").mkdir(parents=True)
    (package / "runs" / "provenance.py").write_text("version = 1\n")
    (tmp_path / "README.md").write_text("read me\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout):
    assert git_state(checkout / "dqroute") == {"commit": git(checkout, "rev-parse", "HEAD"), "clean": True}


def test_a_change_outside_the_package_leaves_it_clean(checkout):
    (checkout / "README.md").write_text("changed\n")
    assert git_state(checkout / "dqroute")["clean"] is True


@pytest.mark.parametrize("name", ["runs/provenance.py", "new.py"])
def test_a_change_in_the_package_is_not_clean(checkout, name):
    (checkout / "dqroute" / name).write_text("version = 2\n")
    assert git_state(checkout / "dqroute")["clean"] is False


def test_outside_any_repository_there_is_no_commit(tmp_path):
    assert git_state(tmp_path) == {}


def test_a_package_installed_inside_a_repository_is_none_of_its_files(checkout):
    installed = shutil.copytree(checkout / "dqroute", checkout / "environment" / "dqroute")
    assert git_state(installed) == {}


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout / "dqroute") == {}


def test_the_record_is_json_without_host_user_or_paths(monkeypatch):
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "somebody")
    monkeypatch.setattr(platform, "node", lambda: "some-host")
    record = provenance(torch.device("cpu"))
    text = json.dumps(record)
    assert json.loads(text) == record
    assert record["packages"].keys() == set(PACKAGES) and record["packages"]["torch"]
    assert record["python"] == platform.python_version()
    assert record["machine"]["device"] == "cpu" and record["machine"]["cores"] >= 1
    assert record["machine"]["threads"] == torch.get_num_threads()
    assert str(Path.home()) not in text and str(Path(__file__).parents[2]) not in text
    assert "somebody" not in text and "some-host" not in text


def test_versions():
    assert package_version("torch") == torch.__version__.split("+")[0] or package_version("torch") == torch.__version__
    assert package_version("no-such-package-here") is None


def test_the_time_is_utc_in_seconds():
    before = datetime.now(UTC).replace(microsecond=0)
    found = datetime.fromisoformat(now())
    assert found.tzinfo == UTC and found.microsecond == 0
    assert before <= found <= datetime.now(UTC)


def test_the_processor_is_told_by_name_family_and_model(tmp_path):
    """Of several cores the first speaks; a system that tells nothing still has a name."""
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t\t: 99\n"
    )
    assert processor(told) == "AMD EPYC (family 25, model 17)"
    told.write_text("processor\t: 0\nmodel name\t: Some ARM\n")
    assert processor(told) == "Some ARM"
    assert processor(tmp_path / "nothing") == (platform.processor() or platform.machine())
