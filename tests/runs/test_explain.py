"""An explanation says what the prediction says, and neighbours are near."""

import pandas as pd
import pytest
import torch
from test_classify import stripes

import dqroute as dq
from dqroute.runs.explain import alike


@pytest.fixture(scope="module")
def run(trained):
    return next(run for run in trained if run.method == "dqroute")


def test_an_explanation_agrees_with_the_prediction(run, tiny):
    image = tiny.test.images[33]
    told, p = dq.explain(run, image), run.model.predict(image[None])
    assert told.answer == tiny.class_names[p.label] and told.probability == pytest.approx(p.probability.item())
    assert told.ranking[0] == (told.answer, told.probability)
    best = p.probabilities[0].sort(descending=True)
    assert [name for name, _ in told.ranking] == [tiny.class_names[c] for c in best.indices[:3]]
    assert [share for _, share in told.ranking] == pytest.approx(best.values[:3].tolist())
    assert [o.says for o in told.experts] == [tiny.class_names[c] for c in p.expert_labels[0]]
    assert [o.confidence for o in told.experts] == pytest.approx(p.confidence[0].tolist())
    assert [o.weight for o in told.experts] == pytest.approx(p.expert_weights[0].tolist())
    assert [o.expert for o in told.experts] == [1, 2, 3]
    # By thirds: 4 classes have many images, 3 a medium number, 3 few; the experts answer for 10, 6 and 3.
    assert [o.classes for o in told.experts] == [10, 6, 3]


def test_what_decides_is_said(run, tiny):
    """By group and within: the product is the answer's probability, whatever each expert says alone."""
    image = tiny.test.images[33]
    told, p = dq.explain(run, image), run.model.predict(image[None]).probabilities[0]
    assert told.groups == pytest.approx({name: p[[*tiny.groups[name]]].sum().item() for name in told.groups})
    answer = tiny.class_names.index(told.answer)
    assert answer in tiny.groups[told.group] and sum(told.groups.values()) == pytest.approx(1)
    inside = told.probability / told.groups[told.group]
    assert f"of {told.group} {told.answer} has {100 * inside:.1f} %" in told.why
    assert f"many {100 * told.groups['many']:.1f} %" in told.why
    alone = run.model.outputs(image[None]).logits[:, 0].softmax(dim=1)[:, answer]
    assert [o.answer for o in told.experts] == pytest.approx(alone.tolist())


def test_an_explanation_prints_as_a_few_lines(run, tiny):
    told = dq.explain(run, tiny.test.images[33])
    lines = str(told).split("\n")
    assert lines[0].startswith(f"{told.answer} {100 * told.probability:.1f} %, {told.ranking[1][0]} ")
    assert [line.split(" says ")[0] for line in lines[1:-1]] == ["expert 1", "expert 2", "expert 3"]
    assert lines[-1] == told.why and repr(told) == str(told)


def test_the_experts_opinions_fuse_to_the_answer(run, tiny):
    """By hand from the experts' logits and the weights told: each ring has its expert's weight, shared out among its
    classes by the expert's own logits."""
    image = tiny.test.images[33]
    told, logits = dq.explain(run, image), run.model.outputs(image[None]).logits[:, 0]
    sets = run.model.class_sets()
    inner = torch.cat([sets[1:], torch.zeros_like(sets[:1])])
    shares = [z[ring].softmax(dim=0) for z, ring in zip(logits, sets & ~inner, strict=True)]
    best = max(o.weight * share.max().item() for o, share in zip(told.experts, shares, strict=True))
    assert best == pytest.approx(told.probability, rel=1e-4)
    for opinion, z in zip(told.experts, logits, strict=True):
        assert opinion.probability == pytest.approx(z.softmax(dim=0).max().item(), rel=1e-4)


def test_a_model_without_detectors_has_one_opinion_that_counts_alone(trained, tiny):
    told = dq.explain(trained[0], tiny.test.images[0], top=99)
    (opinion,) = told.experts
    assert trained[0].method == "cross-entropy" and (opinion.confidence, opinion.weight) == (1, 1)
    assert opinion.says == told.answer and len(told.ranking) == 10


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (8, 8)])
def test_one_image_is_explained_at_a_time(run, shape):
    with pytest.raises(ValueError, match="one image"):
        dq.explain(run, torch.zeros(shape, dtype=torch.uint8))


def test_an_image_is_its_own_nearest_neighbour(run, tiny):
    found = dq.nearest(run, tiny.train.images[:20], tiny.train, k=3)
    assert found.indices.shape == found.similarity.shape == (20, 3)
    assert found.similarity[:, 0].tolist() == pytest.approx([1] * 20, abs=1e-4)
    assert (found.similarity.diff(dim=1) <= 0).all()
    # Where two training images are alike to the last digit either may come first.
    own = found.indices[:, 0] == torch.arange(20)
    assert own.float().mean() > 0.8


def test_similarity_is_the_experts_mean_cosine(run, tiny):
    found = dq.nearest(run, tiny.test.images[:2], tiny.train, k=4)
    a = run.model.outputs(tiny.test.images[:1]).features[:, 0]
    b = run.model.outputs(tiny.train.images[found.indices[0, 2]][None]).features[:, 0]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).mean().item()
    assert found.similarity[0, 2].item() == pytest.approx(cosine, abs=1e-4)


def test_more_neighbours_than_images_are_refused(run, tiny):
    with pytest.raises(ValueError, match="how many neighbours to find among"):
        dq.nearest(run, tiny.test.images[:1], tiny.train, k=10_000)


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """A run on features of picture files, and the set."""
    place = tmp_path_factory.mktemp("behind")
    for i, name in enumerate(["across"] * 12 + ["up"] * 6):
        stripes(place / "set" / name / f"{i}.png", name == "across", i)
    data = dq.load(f"folder:{place / 'set'}", test=0.2, backbone="gradient-histograms")
    return dq.fit("dqroute", data, epochs=2, folds=2, runs_dir=place / "runs", progress=False), data


def test_the_most_similar_training_pictures_of_a_file_are_told_by_file(behind):
    run, data = behind
    base, names = data.train.pictures.base, data.train.pictures.names
    table = alike(run, [base / names[0], base / names[-1]], k=3)
    assert list(table.columns) == ["file", "like", "class", "similarity"] and len(table) == 6
    # A training picture is most like itself, and like others of its class.
    assert [table["like"][0], table["like"][3]] == [names[0], names[-1]]
    assert table["similarity"][0] == pytest.approx(1, abs=1e-3) and (table["similarity"] <= 1 + 1e-5).all()
    assert table["class"].tolist() == ["across"] * 3 + ["up"] * 3
    by_folder = alike(run.folder, str(base / names[0]), data, k=3)
    pd.testing.assert_frame_equal(by_folder, table[:3], rtol=1e-3)


def test_behind_an_encoder_similarity_is_the_cosine_of_its_features(behind):
    run, data = behind
    base, names = data.train.pictures.base, data.train.pictures.names
    found = dq.nearest(run, base / names[0], data.train, k=4)
    x = torch.nn.functional.normalize(data.train.features, dim=1)
    expected = (x @ x[0]).sort(descending=True).values[:4]
    assert found.similarity[0].tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_picture_file_is_explained_as_its_pixels_are(behind):
    run, data = behind
    file = data.test.pictures.base / data.test.pictures.names[0]
    told, same = dq.explain(run, file), dq.explain(run, dq.read_images(file, 32, "bilinear")[0])
    assert told == same and told.answer == file.parent.name


def test_without_the_images_nothing_is_alike(behind):
    with pytest.raises(ValueError, match="was opened without its images; pass the image set too"):
        alike(behind[0].folder, "a.png")


def test_the_expert_that_is_none_of_the_nested_is_told_by_name(behind):
    run, data = behind
    told = dq.explain(run, data.test.pictures.base / data.test.pictures.names[0])
    assert [o.name for o in told.experts] == ["expert 1", "expert 2", "expert 3", "the Gaussian"]
    assert "the Gaussian" in told._repr_html_()
