"""The card in a run's folder names what it is, each class with its count, and the numbers of the report."""

import dataclasses
import shutil

import pytest

import dqroute as dq
from dqroute.data import features
from dqroute.runs.card import card, plain, write_card


def test_the_card_names_each_class_with_its_count_and_the_reports_numbers(trained, tiny):
    run = trained[1]
    text, report = (run.folder / "card.md").read_text(), run.report()
    for c, name in enumerate(tiny.class_names):
        group = next(group for group in ("many", "medium", "few") if c in tiny.groups[group])
        assert f"| {name} | {tiny.counts[c]} | {group} | {report.sure(c)} |" in text
        assert report.sure(c).startswith(f"{100 * report.per_class[c]:.1f} % (") and "; 20 images)" in report.sure(c)
    shares = [report.said(name) for name in ("balanced", "overall", "many", "medium", "few")]
    measures = (report.worst, report.harmonic)
    shares += [f"{100 * share:.1f} %" for share in (*measures, report.calibration["overall"])]
    assert f"| test | {report.images} | {' | '.join(shares)} |" in text
    for said in (
        "dqroute on tiny",
        run.provenance["data_fingerprint"],
        "epochs 2",
        "alpha 0.5",
        "A resnet8, trained from",
    ):
        assert said in text
    assert f'dq.Run("{run.folder.name}")' in text and str(run.folder.parent) not in text


def test_it_is_written_at_the_end_of_a_training_and_anew_when_evaluated(tiny, runs_dir, quick):
    run = dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick)
    assert "It has not been evaluated." in (run.folder / "card.md").read_text()
    for split in ("test", "val"):
        dq.evaluate(run, split=split, device="cpu")
    text = (run.folder / "card.md").read_text()
    assert "| test | 200 |" in text and "| val | 50 |" in text and "not been evaluated" not in text
    assert text == card(dq.Run(run.folder))


def test_names_are_no_markup(tiny, runs_dir, quick):
    names = ("<script>alert(1)</script>", "a|b", "`c`", "line\nbreak", *"456789")
    run = dq.fit("cross-entropy", dataclasses.replace(tiny, class_names=names), epochs=1, runs_dir=runs_dir, **quick)
    text = (run.folder / "card.md").read_text()
    assert "<script" not in text and r"| &lt;script&gt;alert(1)&lt;/script&gt; | 40 |" in text
    assert r"| a\|b |" in text and r"| \`c\` |" in text and "| line break |" in text
    assert plain("a_b") == r"a\_b"


def test_behind_an_encoder_it_tells_who_judged_and_whose_weights(tiny, runs_dir):
    run = dq.fit(
        "dqroute", features(tiny, "gradient-histograms", progress=False), epochs=1, runs_dir=runs_dir, progress=False
    )
    text = (run.folder / "card.md").read_text()
    assert "Classifiers on the features of gradient-histograms. Its weights: none, or of one's own." in text
    assert "heads that never saw the picture (out of fold)" in text
    assert f"{100 * run.provenance['out_of_fold_accuracy']:.1f} % out of fold." in text
    # No word of the network that was not built, nor of what AdamW has not.
    assert not any(
        word in text for word in ("resnet8", "shared_depth", "branch_width", "momentum", "features {", " None")
    )
    assert "backbone gradient-histograms" in text and f"size {run.settings['data']['features']['size']}" in text


def test_a_card_that_cannot_be_written_or_a_damaged_report_costs_nothing(trained, tmp_path):
    shutil.copytree(trained[0].folder, tmp_path / "run")
    run = dq.Run(tmp_path / "run")
    (run.folder / "report-val.json").write_text("{")
    (run.folder / "card.md").unlink()
    write_card(run)
    assert "| test | 200 |" in (run.folder / "card.md").read_text()
    (run.folder / "card.md").unlink()
    (run.folder / "card.md").mkdir()
    with pytest.warns(UserWarning, match="not kept"):
        write_card(run)
