import dataclasses

import numpy as np
import pytest
import torch

from clipn.benchmarks import EvaluationOptions, evaluate, read_results
from clipn.benchmarks.results import read_scores
from clipn.errors import DataError, ModelError
from clipn.metrics import auroc
from clipn.scores import SCORES, Lexicon, MinedWords, Word, mine_words

SYLLABLES = ("ba", "de", "fo", "gu", "ki", "la", "mo", "ne", "po")
WORDS = Lexicon(  # 729 words, of which the 15 % that are mined make the 100 groups of neg_label
    name="things",
    words=tuple(
        Word(text=a + b + c, part="noun", files=("things",))
        for a in SYLLABLES
        for b in SYLLABLES
        for c in SYLLABLES
    ),
)
SIMPLE = ("atd", "msp", "energy")


def options(**changes):
    return EvaluationOptions(num_resamples=20, **changes)


@pytest.fixture
def run(learnable_model, painted_suite, painted_root, tmp_path):
    def evaluate_painted(model=learnable_model, suite=painted_suite, scores=SIMPLE, **changes):
        return evaluate(
            model,
            suite,
            data_root=painted_root,
            out_dir=tmp_path / "out",
            scores=scores,
            options=options(**changes),
        )

    return evaluate_painted


def count_images(monkeypatch, model):
    """Have the model count what it embeds."""
    counted = []
    encode = type(model).encode_image

    def counting(self, images):
        counted.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(type(model), "encode_image", counting)
    return counted


def test_figures_are_those_of_the_scores(run, tmp_path):
    result = run().results[0]
    scores = read_scores(tmp_path / "out", result)
    for name in ("grey", "pink"):
        expected = auroc(scores.id_scores[name], scores.ood_scores[name])
        assert result.sets[name]["auroc"] == expected
    mean = np.mean([result.sets[name]["auroc"] for name in ("grey", "pink")])
    assert result.averages["all"]["auroc"] == pytest.approx(mean)
    assert set(result.averages) == {"all", "near", "far"}


def test_the_most_likely_class_of_every_image_is_kept(run, learnable_model, tmp_path, painted_root):
    (painted_root / "grey" / "3.png").write_bytes(b"no picture")
    result = run().results[0]
    scores = read_scores(tmp_path / "out", result)
    assert scores.id_best is not None
    assert scores.id_right is not None
    labels = np.repeat([2, 1, 0], 6)  # blue, green, red: as folders are sorted
    assert ((scores.id_best == labels) == scores.id_right).all()
    assert set(scores.ood_best) == {"grey", "pink"}
    assert (scores.ood_best["grey"] == -1).tolist() == [row == 3 for row in range(8)]


def test_scores_are_those_of_the_detector(run, learnable_model, painted_root, tmp_path):
    from PIL import Image

    from clipn import Detector

    result = run(scores=["atd"]).results[0]
    detector = Detector(learnable_model, ["red", "green", "blue"], score="atd")
    paths = sorted((painted_root / "grey").glob("*.png"))
    images = [Image.open(path).resize((32, 32), Image.Resampling.BICUBIC) for path in paths]
    kept = read_scores(tmp_path / "out", result).ood_scores["grey"]
    np.testing.assert_allclose(kept, detector.score(images), atol=1e-6)


def test_each_image_is_embedded_once_for_all_scores_and_runs(run, monkeypatch, learnable_model):
    counted = count_images(monkeypatch, learnable_model)
    run(scores=SIMPLE)
    assert sum(counted) == 18 + 8 + 8
    run(scores=("ctw", "mcm"))
    assert sum(counted) == 18 + 8 + 8


@pytest.mark.parametrize(
    ("score", "num_passes", "num_tried"),
    [("gl_mcm", 1, 1), ("odin", 2, 0)],  # gl_mcm is tried on an image that is blank
)
def test_scores_that_see_pixels_take_the_embeddings_that_are_there(
    run, learnable_model, score, num_passes, num_tried
):
    passed = []
    run(scores=("msp",))
    hook = learnable_model.visual.conv1.register_forward_hook(
        lambda _, inputs, __: passed.append(len(inputs[0]))
    )
    try:
        run(scores=(score,))
    finally:
        hook.remove()
    assert sum(passed) == num_passes * (18 + 8 + 8) + num_tried


def test_words_are_embedded_once_for_all_suites_and_runs(
    run, monkeypatch, learnable_model, painted_suite
):
    counted = []
    encode = type(learnable_model).encode_text

    def counting(self, texts):
        counted.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(type(learnable_model), "encode_text", counting)
    first = run(scores=("neg_label",), lexicon=WORDS).results[0]
    assert sum(counted) >= 729
    counted.clear()
    others = dataclasses.replace(painted_suite, name="fewer", class_names=("red", "green", "blue"))
    again = run(scores=("neg_label", "ada_neg"), suite=others, lexicon=WORDS).results[0]
    assert again.averages == first.averages
    assert sum(counted) < 100, "class names at most"


def test_mined_words_are_those_of_the_model_itself(run, learnable_model, tmp_path):
    result = run(scores=("csp",), lexicon=WORDS).results[0]
    assert result.words is not None
    mined = MinedWords.load(tmp_path / "out" / "words" / "painted-csp.json")
    with torch.inference_mode():
        bank = learnable_model.class_bank(result.class_names, templates=result.templates)
        expected = mine_words(
            "csp", WORDS, class_bank=bank.yes, encode_text=learnable_model.encode_text
        )
    assert mined.words == expected.words


def test_results_that_fit_are_kept(run, tmp_path):
    before = run().results
    path = tmp_path / "out" / "results" / "painted"
    stamps = [p.stat().st_mtime_ns for p in sorted(path.rglob("*.json"))]
    assert run().results == before
    assert [p.stat().st_mtime_ns for p in sorted(path.rglob("*.json"))] == stamps


def test_results_of_other_options_are_not_kept_silently(run):
    run(scores=["react"])
    with pytest.raises(DataError, match="other weights, data or options"):
        run(scores=["react"], score_options={"react": {"percentile": 50.0}})
    changed = run(
        scores=["react"], score_options={"react": {"percentile": 50.0}}, existing="replace"
    )
    assert changed.results[0].score_options["percentile"] == 50.0


def test_existing_results_can_be_refused(run):
    run()
    with pytest.raises(DataError, match="There is a result"):
        run(existing="refuse")


def test_every_score_is_served_with_what_it_needs(run, tmp_path):
    evaluation = run(scores="all", lexicon=WORDS, outliers=["lemon", "grass"])
    assert [r.score for r in evaluation.results] == list(SCORES)
    assert evaluation.not_served == {}
    for result in evaluation.results:
        scores = read_scores(tmp_path / "out", result)
        assert all(np.isfinite(values).all() for values in scores.ood_scores.values()), result.score
    assert len(read_results(tmp_path / "out")) == len(SCORES)


def test_what_cannot_be_served_is_left_out_with_the_reason(run, plain_model):
    evaluation = run(model=plain_model, scores="all")
    assert set(evaluation.not_served) == {"ctw", "atd", "neg_label", "csp", "ada_neg", "eoe"}
    assert "has not learned" in evaluation.not_served["atd"]


def test_without_training_images_only_fitted_scores_are_left_out(run, painted_root):
    (painted_root / "train").rename(painted_root / "elsewhere")
    reasons = run(scores="all", lexicon=WORDS, outliers=["lemon"]).not_served
    assert set(reasons) == {"react", "fort"}
    assert "colours_train, the images to fit it on, are not below" in reasons["fort"]
    assert reasons["fort"].endswith("Paint it.")
    with pytest.raises(ModelError, match="'fort' cannot be served: colours_train, the images"):
        run(scores=["fort"])


def test_a_score_asked_for_by_name_must_be_served(run, plain_model):
    with pytest.raises(ModelError, match="'atd' cannot be served"):
        run(model=plain_model, scores=["atd"])


def test_scores_of_a_stream_differ_beside_each_set(run, tmp_path):
    result = run(scores=["ada_neg"], lexicon=WORDS).results[0]
    scores = read_scores(tmp_path / "out", result)
    assert not np.array_equal(scores.id_scores["grey"], scores.id_scores["pink"])


def test_an_unreadable_image_is_left_out_and_told(run, painted_root, tmp_path):
    (painted_root / "grey" / "3.png").write_bytes(b"broken")
    evaluation = run()
    result = evaluation.results[0]
    assert result.data["grey"].num_unreadable == 1
    assert np.isnan(read_scores(tmp_path / "out", result).ood_scores["grey"]).sum() == 1
    assert len(evaluation.unreadable) == 1
    assert "3.png" in evaluation.unreadable[0]


def test_a_wrong_count_is_refused_unless_only_reported(run, painted_root):
    (painted_root / "grey" / "0.png").unlink()
    with pytest.raises(DataError, match="grey"):
        run()
    assert run(counts="report").results[0].data["grey"].num_images == 7


def test_changed_images_are_noticed(run, painted_root):
    run()
    (painted_root / "pink" / "0.png").write_bytes((painted_root / "grey" / "0.png").read_bytes())
    with pytest.raises(DataError, match="other weights, data or options"):
        run()


def test_rules_and_the_calibrated_threshold_are_measured(run):
    atd = next(r for r in run().results if r.score == "atd")
    assert set(atd.rules) == {"calibrated", "atd"}
    for rule in atd.rules.values():
        assert 0 <= rule["id_kept"] <= 1
        assert set(rule["refused"]) == {"grey", "pink"}
        assert rule["id_accuracy"] <= rule["id_kept"]


@pytest.mark.parametrize(
    ("option", "least"), [("batch_size", 1), ("num_workers", 1), ("num_resamples", 0)]
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(option, least):
    with pytest.raises(ValueError, match=f"{option} must be at least {least}; got {least - 1}"):
        EvaluationOptions(**{option: least - 1})


@pytest.mark.parametrize("tpr", [0.0, 1.0, 95.0])
def test_the_threshold_keeps_a_share(tpr):
    with pytest.raises(ValueError, match=f"tpr must lie between 0 and 1; got {tpr}"):
        EvaluationOptions(tpr=tpr)


def test_all_stands_alone(run):
    with pytest.raises(ValueError, match=r"'all' alone, or names of scores; got \('all', 'msp'\)"):
        run(scores=("all", "msp"))


def test_an_unknown_score_is_named(run):
    with pytest.raises(ValueError, match="Unknown score 'atdd'"):
        run(scores=["atdd"])


def test_a_suite_without_training_images_cannot_fit(run, painted_suite):
    suite = dataclasses.replace(painted_suite, training_set=None)
    evaluation = run(suite=suite, scores="all")
    assert {"react", "fort"} <= set(evaluation.not_served)
