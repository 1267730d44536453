"""What sets, runs, reports, predictions and explanations show of themselves at the end of a cell."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest
import torch

import dqroute as dq
from dqroute.data import FileSplit, features
from dqroute.data.image_set import FeatureSplit

BAD = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Notes a page's text and pictures, and that what is opened is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.alts = [], "", []
        self.feed(page)
        assert not self.open
        self.text = " ".join(self.text.replace("\xa0", " ").split())

    def handle_starttag(self, tag, attributes):
        assert tag in {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "img"}
        if tag == "img":
            self.alts.append(dict(attributes)["alt"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


@pytest.fixture(scope="module")
def odd(tiny, tmp_path_factory, quick):
    """A set with a class of a bad name, an evaluated run of it."""
    data = dataclasses.replace(tiny, class_names=(BAD, *"123456789"), notes=(f"left out: {BAD}",))
    run = dq.fit("dqroute", data, epochs=1, runs_dir=tmp_path_factory.mktemp("odd"), **quick)
    return data, run, dq.evaluate(run, device="cpu")


def test_a_set_shows_its_groups_pictures_of_each_and_its_notes(odd):
    page = Reader(odd[0]._repr_html_())
    assert page.text.startswith("tiny 10 classes; 159 for train, 200 for test, 50 for val")
    assert "many: 4 classes of 18 to 40 training pictures" in page.text and f"left out: {BAD}" in page.text
    assert page.alts[0] == f"{BAD}, one of 40" and len(page.alts) == 10


def test_where_there_is_no_page_a_line_is_enough(odd, tmp_path):
    """No tensor is printed."""
    data, run, report = odd
    seen = features(data, "gradient-histograms", progress=False)
    files = FileSplit(tmp_path, ["a.png", "b.png"], torch.tensor([0, 0]), 8)
    assert repr(data.train) == "<Split: 159 images of 1x8x8, 10 classes>"
    assert repr(seen.test) == f"<FeatureSplit: 200 images of {seen.shape[0]} features, 10 classes>"
    assert repr(files) == "<FileSplit: 2 images of 3x8x8, 1 class>"
    assert repr(run.model.predict(data.test)) == "<Prediction: 200 images, 10 classes>"
    balanced, overall = report.said("balanced"), report.said("overall")
    assert repr(report) == f"<Report: test, 200 images, mean of the classes {balanced}, overall {overall}>"


def test_a_set_without_pictures_at_hand_shows_the_rest(odd):
    data = features(odd[0], "gradient-histograms", progress=False)
    assert len(Reader(data._repr_html_()).alts) == 10
    train = FeatureSplit(data.train.features, data.train.labels)
    page = Reader(dataclasses.replace(data, train=train)._repr_html_())
    assert page.alts == [] and "few: 3 classes of 4 to 6 training pictures" in page.text


def test_a_report_shows_every_measure_and_the_worst_classes_by_name(odd):
    _, run, report = odd
    page = Reader(report._repr_html_())
    for name in ("overall", "many", "medium", "few", "harmonic"):
        assert f"{name} {100 * getattr(report, name):.1f} %" in page.text
    assert f"worst fifth {100 * report.worst:.1f} % mean of the worst 2 classes" in page.text
    assert f"calibration {100 * report.calibration['overall']:.1f} %" in page.text
    assert "4 classes, 18 to 40 training images each" in page.text
    worst = min(range(10), key=lambda c: report.per_class[c])
    assert f"worst: {odd[0].class_names[worst]} {report.sure(worst)}" in page.text
    assert report.sure(worst).startswith(f"{100 * report.per_class[worst]:.1f} % (") and "; 20 images)" in page.text
    assert f"mean of the classes {report.said('balanced')}" in page.text and "95 % intervals over images" in page.text
    assert run.report()._repr_html_() == report._repr_html_()


def test_a_report_by_itself_has_classes_by_number(odd):
    report = dq.Report.from_json(odd[2].to_json())
    assert report == odd[2] and "worst: class " in Reader(report._repr_html_()).text


def test_a_run_shows_what_it_is_without_a_path(odd):
    _, run, report = odd
    page = Reader(run._repr_html_())
    assert page.text.startswith("run method dqroute, seed 0 data tiny: 159 training images of 10 classes")
    assert (
        f"trained 1 epochs, {run.seconds:.0f} s" in page.text and f"overall {100 * report.overall:.1f} %" in page.text
    )
    assert page.text.endswith(f"folder {run.folder.name}") and str(run.folder.parent) not in page.text


def test_a_prediction_shows_the_first_answers(odd):
    data, run, _ = odd
    prediction = run.model.predict(data.test.images)
    text = Reader(prediction._repr_html_()).text
    first = [f"{n} {prediction.label[n]} {100 * prediction.probability[n]:.1f} %" for n in range(5)]
    assert text == f"200 predictions image class probability {' '.join(first)}"
    assert re.search("0 predictions", dq.Prediction(*[torch.empty(0)] * len(dq.Prediction._fields))._repr_html_())


def test_an_explanation_shows_the_ranking_and_the_experts(odd):
    data, run, _ = odd
    told = dq.explain(run, data.test.images[0])
    text = Reader(told._repr_html_()).text
    assert all(f"{name} {100 * p:.1f} %" in text for name, p in told.ranking)
    assert all(f"{o.expert} {o.says} {100 * o.probability:.1f} %" in text for o in told.experts)
