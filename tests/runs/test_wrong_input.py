"""What is not valid is answered in one sentence, by every public function: what would be, and what is near."""

import os
import re
from dataclasses import replace

import pandas as pd
import pytest
import torch
from test_classify import served  # noqa: F401

import dqroute as dq
from dqroute.runs.audit import suspect_labels
from dqroute.runs.by_class import confusions
from dqroute.runs.decisions import thresholds
from dqroute.runs.explain import alike
from dqroute.runs.label_next import label_next

PLACES = {"RUN": lambda run, data: run, "DATA": lambda run, data: data, "IMAGE": lambda run, data: data.test.images[0]}
PLACES |= {"SPLIT": lambda run, data: data.train, "TABLE": lambda run, data: pd.DataFrame({"file": ["a.png"]})}
PLACES |= {"OTHER": lambda run, data: replace(data, identity=data.identity | {"seed": 9})}
METHODS = "the valid ones are cross-entropy, .*dqroute"
NO_RUN = "a run is opened by its folder"
# The function; what it is given, a name in capitals standing for a real thing; what it then says.
WRONG = [
    (dq.load, (3,), {}, r"unknown data set 3; the valid ones are glyphs, .*folder:PATH"),
    (dq.load, (None,), {}, "unknown data set None; the valid ones are glyphs"),
    (dq.load, (["glyphs"],), {}, r"unknown data set \['glyphs'\]; the valid"),
    (dq.load, ("glyfs",), {}, r"did you mean 'glyphs'\?"),
    (dq.load, ("CIFAR_10",), {}, r"did you mean 'cifar10'\?"),
    (dq.load, ("glyphs",), {"imballance": 10}, r"no option imballance \(did you mean 'imbalance'\?\); its options are"),
    (dq.load, ("glyphs",), {"backbone": "efficientnet_lite0"}, r"did you mean 'efficientnet-lite0'\?"),
    (dq.load, ("glyphs",), {"backbone": 3}, "a backbone is named"),
    (dq.fit, ("DATA", "dqroute"), {}, "got 'dqroute' for the set; they stand the other way round"),
    (dq.fit, ("dqrout", "DATA"), {}, rf"unknown method 'dqrout' \(did you mean 'dqroute'\?\); {METHODS}"),
    (dq.fit, ("logit_adjustment", "DATA"), {}, r"did you mean 'logit-adjustment'\?"),
    (dq.fit, (3, "DATA"), {}, f"unknown method 3; {METHODS}"),
    (dq.fit, (dq.Method, "DATA"), {}, f"unknown method <Method>; {METHODS}"),
    (
        dq.fit,
        ("dqroute", "glyphs"),
        {},
        r"from dq.load, as in dq.fit\('dqroute', data\); got 'glyphs' for the set$",
    ),
    (dq.fit, ("dqroute", "DATA"), {"epoch": 3}, r"unknown setting epoch \(did you mean 'epochs'\?\); training takes"),
    (dq.fit, ("dqroute", "DATA"), {"alfa": 3}, r"unknown setting alfa \(did you mean 'alpha'\?\)"),
    (dq.fit, ("dqroute", "DATA"), {"preset": 3}, "unknown preset 3; the valid ones are laptop"),
    (dq.fit, ("dqroute", "DATA"), {"detector": "linnear"}, r"did you mean 'linear'\?"),
    (dq.evaluate, ("x",), {}, "x holds no run: it has no settings.json.*dq.find_runs"),
    (dq.evaluate, (3,), {}, f"{NO_RUN}.*; got 3"),
    (dq.evaluate, ("RUN", "a folder"), {}, "a run is evaluated on an image set from dq.load; got 'a folder'"),
    (dq.evaluate, ("RUN",), {"split": "tset"}, r"unknown split 'tset' \(did you mean 'test'\?\)"),
    (dq.classify, ("DATA", ["a.png"]), {}, f"{NO_RUN}.*; got <ImageSet>"),
    (dq.fit, ("dqroute", "DATA"), {"prior_follows": "no"}, "prior_follows is True or False; got 'no'"),
    (dq.fit, ("dqroute", "DATA"), {"heads_first": "no"}, "heads_first is True, False or None; got 'no'"),
    (dq.fit, ("dqroute", "DATA"), {"check": "no"}, "check is True or False; got 'no'"),
    (dq.fit, ("dqroute", "DATA"), {"runs_dir": 3}, "runs_dir is a path; got 3"),
    (
        dq.fit,
        ("dqroute", "DATA"),
        {"alpha": "viel"},
        r"alpha must be a number \(not text\) between 0 and 1; got 'viel'",
    ),
    (dq.load, ("digits",), {"imbalance": True}, "imbalance is largest over smallest class, .*; got True"),
    (dq.read_images, ("a.png",), {"size": 0}, "size must be a whole number"),
    (dq.read_images, ("a.png",), {"size": "32"}, "size must be a whole number"),
    (dq.load, ("cifar10",), {"download": "yes"}, "download is True or False; got 'yes'"),
    (dq.load, ("folder:.",), {"skip_damaged": "no"}, "skip_damaged is True or False; got 'no'"),
    (dq.evaluate, ("RUN",), {"other": "no"}, "other is True or False; got 'no'"),
    (dq.classify, ("RUN", []), {"adapt": "yes"}, "adapt is True or False; got 'yes'"),
    (dq.classify, ("RUN", []), {"progress": "no"}, "progress is True or False; got 'no'"),
    (
        dq.classify,
        ("RUN", [], 0.8),
        {},
        "classify takes run and files, and by name answer_at=, .*; got 3 without a name",
    ),
    (
        thresholds,
        ("RUN", 0.9),
        {},
        "thresholds takes run, and by name precision=, answered=, prevalence=; got 2 without",
    ),
    (dq.classify, ("RUN", 3), {}, "a picture is the path of a file, .*; got 3"),
    (dq.classify, ("RUN", [3]), {}, "a picture is the path of a file, .*; got 3"),
    (dq.classify, ("RUN", []), {"answer_at": {"acros": 0.5}}, r"did you mean 'across'\?"),
    (dq.explain, (None, "IMAGE"), {}, f"{NO_RUN}.*; got None"),
    (dq.explain, ("RUN", 3), {}, "a picture is the path of a file, .*; got 3"),
    (dq.explain, ("RUN", "nowhere.png"), {}, "^cannot read 'nowhere.png': there is no such file$"),
    (dq.read_images, (["nowhere.png"], 24), {}, "^cannot read 'nowhere.png': there is no such file$"),
    (dq.explain, ("RUN", "."), {}, r"'\.' is a folder; dq.classify takes folders"),
    (dq.explain, ("RUN", "IMAGE"), {"top": "3"}, "top must be a whole number of at least 1; got '3'"),
    (dq.nearest, ("RUN", "IMAGE", "SPLIT"), {"k": "3"}, "k must be a whole number of at least 1; got '3'"),
    (alike, ("RUN", "a.png", "DATA"), {"k": -1}, "k must be a whole number of at least 1; got -1"),
    (suspect_labels, ("RUN",), {"most": "5"}, "most must be a whole number of at least 1; got '5'"),
    (suspect_labels, ("RUN",), {"most": -1}, "most must be a whole number of at least 1; got -1"),
    (confusions, ("RUN",), {"most": "6"}, "most must be a whole number of at least 1; got '6'"),
    (confusions, ("RUN",), {"most": -1}, "most must be a whole number of at least 1; got -1"),
    (suspect_labels, ("RUN", "OTHER"), {}, "is not the data of .*; load it as it was then, or train on this one$"),
    (dq.fit, ("dqroute", "DATA"), {"test": 0.2}, "^dq.load takes test=, and not dq.fit: load the set so"),
    (dq.fit, ("dqroute", "DATA"), {"val": 0.2, "group_by": 60}, "^dq.load takes group_by=, val=, and not dq.fit"),
    (dq.fit, ("DATA",), {}, r"as in dq.fit\('dqroute', data\); got None for the set$"),
    (dq.fit, ("dqroute",), {}, r"as in dq.fit\('dqroute', data\); got None for the set$"),
    (dq.classify, ("RUN", "TABLE"), {}, r"got <DataFrame>; give its column of paths, as in table\['file'\]"),
    (label_next, ("RUN", "TABLE"), {}, r"got <DataFrame>; give its column of paths, as in table\['file'\]"),
    (dq.classify, ("RUN", "DATA"), {}, r"got <ImageSet>; run.model.predict\(data.test\) names the pictures of a set"),
    (dq.classify, ("RUN", "SPLIT"), {}, r"got <Split>; run.model.predict\(split\) names"),
    (dq.nearest, ("RUN", "IMAGE", "train"), {}, "neighbours are looked for in a split.*; got 'train'"),
    (alike, ("RUN", 3), {}, "picture files are paths; got 3"),
    (dq.export, ("RUN", "model.onx"), {}, r"unknown ending of an exported file '\.onx' \(did you mean '\.onnx'\?\)"),
    (dq.export, ("RUN", 3), {}, "a model is exported into a file.*; got 3"),
    (dq.export, (3, "model.onnx"), {}, f"{NO_RUN}.*; got 3"),
    (dq.Run, (3,), {}, f"{NO_RUN}, as in dq.Run.run.folder.; got 3"),
    (dq.Run, ("nowhere",), {}, "nowhere holds no run"),
    (dq.find_runs, (3,), {}, "runs are looked for below a folder; got 3"),
    (dq.method_options, ("dqrout",), {}, r"did you mean 'dqroute'\?"),
    (dq.method_options, (3,), {}, f"unknown method 3; {METHODS}"),
    (dq.register, (3,), {}, "a method is registered under a name"),
    (dq.register, (dq.Method,), {}, r"a method is registered under a name, as by @register\('mine'\); got <Method>"),
    (dq.read_images, (3, 24), {}, "picture files are paths; got 3"),
    (dq.read_images, ([], 24), {}, "no files were given"),
]


@pytest.mark.parametrize(("function", "given", "options", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_answered_in_one_sentence(served, function, given, options, said):  # noqa: F811
    run, _, _, data = served
    given = [PLACES[one](run, data) if isinstance(one, str) and one in PLACES else one for one in given]
    with pytest.raises((ValueError, FileNotFoundError, TypeError)) as caught:
        function(*given, **options)
    assert re.search(said, str(caught.value)), caught.value
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


# What is in the table and stands in rooms of its own.
BESIDE = {"alike", "confusions", "label_next", "suspect_labels", "thresholds"}


def test_every_public_function_is_in_the_table():
    functions = {name for name in dq.__all__ if name not in ("METHODS", "Method", "Prediction", "Report")}
    assert functions == {function.__name__ for function, *_ in WRONG} - BESIDE


def test_a_run_may_be_given_by_its_folder(served):  # noqa: F811
    run, _, files, data = served
    known, image = dq.evaluate(run, device="cpu"), data.test.images[0]
    for folder in (run.folder, str(run.folder)):
        assert dq.evaluate(folder, data) == known
        assert dq.classify(folder, files[:2], device="cpu").equals(dq.classify(run, files[:2], device="cpu"))
        assert dq.explain(folder, image) == dq.explain(run, image)
        assert torch.equal(
            dq.nearest(folder, image[None], data.train).indices, dq.nearest(run, image[None], data.train)[0]
        )


def test_a_folder_that_holds_no_run_names_those_that_are_near(served):  # noqa: F811
    run = served[0]
    with pytest.raises(FileNotFoundError, match=rf"did you mean '{re.escape(run.folder.name)}'\?|such as "):
        dq.Run(str(run.folder)[:-1])
    with pytest.raises(FileNotFoundError, match=f"such as {re.escape(os.fspath(run.folder.parent))}"):
        dq.Run(run.folder.parent)
