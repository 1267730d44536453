"""Energy from the system's counters, laid out as Linux does."""

import pytest

from dqroute.training.energy import COUNTERS, EnergyMeter


def counter(folder, name, value, most=10_000_000, kind="package-0"):
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "energy_uj").write_text(f"{value}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")
    (place / "name").write_text(f"{kind if name.count(':') == 1 else 'core'}\n")


def test_packages_are_added_up_and_their_parts_are_not_counted_twice(tmp_path):
    for name, value in (("intel-rapl:0", 1_000_000), ("intel-rapl:1", 0), ("intel-rapl:0:0", 5)):
        counter(tmp_path, name, value)
    meter = EnergyMeter(tmp_path)
    for name, value in (("intel-rapl:0", 3_500_000), ("intel-rapl:1", 500_000), ("intel-rapl:0:0", 2_000_000)):
        counter(tmp_path, name, value)
    assert meter.since_last() == pytest.approx(3.0)
    assert meter.since_last() == 0


def test_a_counter_that_started_again_is_followed(tmp_path):
    counter(tmp_path, "intel-rapl:0", 9_000_000)
    meter = EnergyMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", 500_000)
    assert meter.since_last() == pytest.approx(1.5)


@pytest.mark.parametrize("content", [None, "no number"])
def test_without_a_readable_counter_there_is_no_number(tmp_path, content):
    if content:
        counter(tmp_path, "intel-rapl:0", 1)
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content)
    assert EnergyMeter(tmp_path).since_last() is None


def test_a_run_tells_its_energy_where_the_machine_does(trained):
    readable = EnergyMeter(COUNTERS).last is not None
    assert all(("cpu_joules" in record) == readable for record in trained[0].epochs)
    assert ("cpu_joules" in trained[0].provenance) == readable


def test_a_counter_unread_for_too_long_tells_nothing(tmp_path, monkeypatch):
    """It may have started again twice."""
    counter(tmp_path, "intel-rapl:0", 0)
    meter = EnergyMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", 1_000_000)
    clock = meter.read_at
    monkeypatch.setattr("time.monotonic", lambda: clock + 3600)
    assert meter.since_last() is None
    counter(tmp_path, "intel-rapl:0", 3_000_000)
    assert meter.since_last() == pytest.approx(2.0)


def test_the_platform_which_holds_the_packages_is_not_added_to_them(tmp_path):
    counter(tmp_path, "intel-rapl:0", 0)
    counter(tmp_path, "intel-rapl:1", 0, kind="psys")
    meter = EnergyMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", 4_000_000)
    counter(tmp_path, "intel-rapl:1", 7_000_000, kind="psys")
    assert meter.since_last() == pytest.approx(4.0)
