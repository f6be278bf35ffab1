"""The outlier detector is one of scikit-learn's, and scores as clipn does."""

import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from clipn.adapters import EmbeddingOutlierDetector
from clipn.detector import Detector
from clipn.errors import ModelError
from clipn.model import CLIPN


def embed(model: CLIPN, count: int, *, seed: int = 0) -> NDArray[np.float32]:
    pixels = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return model.encode_image(pixels).numpy()


NOT_APPLICABLE = {
    "check_array_api_input": "asks for array libraries other than NumPy; scikit-learn skips it",
    "check_do_not_raise_errors_in_init_or_set_params": (
        "gives -1 for a bank, which these tests refuse, since they check types; it passes without"
    ),
}


def test_it_passes_the_checks_of_scikit_learn():
    checks = check_estimator(EmbeddingOutlierDetector(), on_skip=None, on_fail=None)
    passed = {check["check_name"] for check in checks if check["status"] == "passed"}
    others = {check["check_name"] for check in checks} - passed
    assert others <= set(NOT_APPLICABLE), [c["exception"] for c in checks if c["exception"]]
    assert len(passed) > 35


@pytest.mark.parametrize("score", ["atd", "ctw", "msp", "max_logit", "energy", "mcm"])
def test_scores_are_those_of_the_detector(learnable_model: CLIPN, score: str):
    detector = Detector(learnable_model, ["cat", "violin", "shoe"], score=score)
    embeddings = embed(learnable_model, 30)
    own = EmbeddingOutlierDetector(detector.bank, score_name=score, tau=learnable_model.tau)
    found = own.fit(embeddings).score_samples(embeddings)
    expected = detector.judge()(torch.from_numpy(embeddings), rule=None).scores[score]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_keeps_the_share_that_is_no_contamination(learnable_model: CLIPN):
    bank, embeddings = learnable_model.class_bank(["cat", "shoe"]), embed(learnable_model, 100)
    detector = EmbeddingOutlierDetector(bank, score_name="msp", contamination=0.1).fit(embeddings)
    answers = detector.predict(embeddings)
    assert (answers == -1).sum() == 10
    assert ((detector.decision_function(embeddings) < 0) == (answers == -1)).all()


def test_it_is_a_step_of_a_pipeline_and_can_be_cloned(learnable_model: CLIPN):
    bank, embeddings = learnable_model.class_bank(["cat", "shoe"]), embed(learnable_model, 40)
    detector = EmbeddingOutlierDetector(bank, score_name="atd")
    pipeline = make_pipeline(FunctionTransformer(lambda rows: 3 * rows), clone(detector))
    expected = detector.fit(embeddings).predict(embeddings)
    assert pipeline.fit(embeddings).predict(embeddings).tolist() == expected.tolist()


def test_what_does_not_fit_is_refused(learnable_model: CLIPN, plain_model: CLIPN):
    embeddings = embed(learnable_model, 10)
    bank = learnable_model.class_bank(["cat"])
    with pytest.raises(ValueError, match="X has embeddings of length 3, the bank of 24"):
        EmbeddingOutlierDetector(bank).fit(embeddings[:, :3])
    with pytest.raises(ValueError, match=r"contamination must lie in \[0, 0.5\]; got 0.9"):
        EmbeddingOutlierDetector(bank, contamination=0.9).fit(embeddings)
    with pytest.raises(ValueError, match="needs no"):
        EmbeddingOutlierDetector(plain_model.class_bank(["cat"]), score_name="atd").fit(embeddings)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    import clipn.adapters

    monkeypatch.setitem(sys.modules, "clipn.adapters.metric", None)
    with pytest.raises(ModelError, match=r'pip install "clipn\[adapters\]"'):
        _ = clipn.adapters.Auroc
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = clipn.adapters.Nothing
