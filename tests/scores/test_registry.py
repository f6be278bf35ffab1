"""The registry: what scores need, their options, and scores of one's own."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from clipn import scores
from clipn.scores import SCORES, ImageBatch, Score, Task, get_score, register, register_score
from clipn.scores.registry import make_score

ORDER = [
    *("ctw", "atd", "msp", "max_logit", "energy", "mcm", "odin", "react", "fort", "gl_mcm"),
    *("neg_label", "csp", "ada_neg", "eoe"),
]
NEEDS = {
    "ctw": {"no"},
    "atd": {"no"},
    "odin": {"gradients"},
    "react": {"id_images"},
    "fort": {"id_images"},
    "gl_mcm": {"patches"},
    "neg_label": {"words"},
    "csp": {"words"},
    "ada_neg": {"words", "order"},
    "eoe": {"outliers"},
}
OPTIONS = {
    "mcm": {"temperature": 1.0},
    "odin": {"epsilon": 0.0014, "logit_temperature": 1e4},
    "react": {"percentile": 90.0},
    "gl_mcm": {"temperature": 1.0, "weight": 1.0},
    "neg_label": {"groups": 100, "seed": 0, "logit_temperature": 1.0},
    "csp": {"groups": 100, "seed": 0, "logit_temperature": 1.0},
    "eoe": {"temperature": 1.0, "beta": 0.25},
}


@pytest.fixture
def _own_scores() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(SCORES)
    yield
    SCORES.clear()
    SCORES.update(before)


def test_scores_are_in_the_order_of_the_tables():
    assert list(SCORES) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_a_score_declares_what_it_is(name: str):
    score = get_score(name)
    assert score.name == name
    assert score.function is getattr(scores, name)
    assert score.needs == NEEDS.get(name, set())
    assert OPTIONS.get(name, {}).items() <= score.options.items()
    assert score.summary.endswith(".")
    assert re.search(r"\b(ICLR|ICML|ICCV|IJCV|NeurIPS) 20\d\d\b", score.source)
    assert score.words == (
        {"csp": "csp"}.get(name, "neg_label") if "words" in score.needs else None
    )


def test_the_two_scores_of_the_paper_have_a_rule():
    assert get_score("ctw").refuses is scores.ctw_refuses
    assert get_score("atd").refuses is scores.atd_refuses
    assert all(SCORES[name].refuses is None for name in ORDER[2:])


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match=r"Unknown score 'mps'; there are ctw, atd, msp, "):
        get_score("mps")


@pytest.mark.parametrize("name", [name for name in ORDER if name not in ("odin",)])
def test_a_scorer_gives_float64_whatever_the_batches(
    full_task: Task, image: Tensor, patches: Tensor, name: str
):
    score, batch = get_score(name), ImageBatch(image=image, patches=patches)
    whole = score.prepare(full_task)(batch)
    assert whole.dtype == torch.float64
    assert whole.shape == (40,)
    assert whole.isfinite().all()
    assert whole.std() > 0
    scorer = score.prepare(full_task)
    pieces = torch.cat([scorer(piece) for piece in batch.split(7)])
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in ORDER if name not in ("odin", "fort")])
def test_single_precision_embeddings_are_scored_in_double(
    full_task: Task, image: Tensor, patches: Tensor, name: str
):
    fields = {key: value for key, value in vars(full_task).items() if isinstance(value, Tensor)}
    single = Task(
        tau=full_task.tau,
        **{key: v.float() if v.is_floating_point() else v for key, v in fields.items()},
    )
    batch = ImageBatch(image=image.float(), patches=patches.float())
    values = get_score(name).prepare(single)(batch)
    assert values.dtype == torch.float64
    exact = get_score(name).prepare(full_task)(ImageBatch(image=image, patches=patches))
    torch.testing.assert_close(values, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ORDER if name not in ("odin",)])
def test_no_image_gives_no_score(full_task: Task, name: str):
    nothing = ImageBatch(image=torch.zeros(0, 8), patches=torch.zeros(0, 9, 8))
    assert get_score(name).prepare(full_task)(nothing).shape == (0,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msp", lambda cosines: scores.msp(20 * cosines)),
        ("energy", lambda cosines: scores.energy(20 * cosines)),
        ("mcm", scores.mcm),
    ],
)
def test_tau_multiplies_logits_and_never_cosines(
    full_task: Task, image: Tensor, name: str, expected
):
    values = get_score(name).prepare(full_task)(ImageBatch(image=image))
    torch.testing.assert_close(values, expected(image @ full_task.yes.T))


@pytest.mark.parametrize("name", ["mcm", "gl_mcm", "eoe"])
def test_scores_of_raw_cosines_do_not_depend_on_tau(
    full_task: Task, image: Tensor, patches: Tensor, name: str
):
    batch = ImageBatch(image=image, patches=patches)
    other = Task(yes=full_task.yes, tau=1.0, outliers=full_task.outliers)
    torch.testing.assert_close(
        get_score(name).prepare(full_task)(batch), get_score(name).prepare(other)(batch)
    )


def test_memory_stays_bounded_by_scoring_some_images_at_a_time(
    full_task: Task, image: Tensor, monkeypatch: pytest.MonkeyPatch
):
    whole = get_score("neg_label").prepare(full_task)(ImageBatch(image=image))
    monkeypatch.setattr("clipn.scores.arguments.BLOCK", 500)
    pieces = get_score("neg_label").prepare(full_task)(ImageBatch(image=image))
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 1.0}, "'mcm' has no option 'temprature'; its options: temperature"),
        ({"temperature": "1"}, "temperature of the score 'mcm' must be a number like 1.0; got '1'"),
        ({"temperature": True}, "must be a number like 1.0; got True"),
        ({"temperature": 0.0}, "temperature must be above 0; got 0.0"),
    ],
)
def test_wrong_options_are_refused(full_task: Task, options: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        get_score("mcm").prepare(full_task, **options)(ImageBatch(image=full_task.yes))


def test_a_whole_number_is_no_half(full_task: Task):
    with pytest.raises(ValueError, match=r"must be a whole number like 100; got 2\.5"):
        get_score("neg_label").prepare(full_task, groups=2.5)
    get_score("react").prepare(full_task, percentile=95)


@pytest.mark.parametrize("name", sorted(NEEDS.keys() - {"gl_mcm"}))
def test_a_task_that_lacks_something_is_refused(name: str):
    bare = Task(yes=torch.eye(2), tau=1.0)
    with pytest.raises(ValueError, match=f"score '{name}' needs .*; the task has no "):
        get_score(name).prepare(bare)


def test_a_batch_that_lacks_something_is_refused(full_task: Task, image: Tensor):
    with pytest.raises(ValueError, match="'gl_mcm' needs patches; the batch has none"):
        get_score("gl_mcm").prepare(full_task)(ImageBatch(image=image))


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tau_that_is_not_above_zero_is_refused(tau: float):
    with pytest.raises(ValueError, match="tau must be a number above 0"):
        Task(yes=torch.eye(2), tau=tau)


# Scores of one's own


@pytest.mark.usefixtures("_own_scores")
def test_a_function_and_one_registration_make_a_score(full_task: Task, image: Tensor):
    @register_score("gap", refuses=scores.ctw_refuses)
    def gap(cosines: Tensor, logits_no: Tensor, *, power: float = 2.0) -> Tensor:
        """Some score.

        Source: Nobody,
            ICML 2099.

        More.
        """
        return cosines.amax(dim=1) ** power - logits_no.amax(dim=1)

    score = get_score("gap")
    assert list(SCORES) == [*ORDER, "gap"]
    assert score.needs == {"no"}
    assert score.options == {"power": 2.0}
    assert (score.summary, score.source) == ("Some score.", "Nobody, ICML 2099.")
    assert score.refuses is scores.ctw_refuses
    values = score.prepare(full_task, power=3.0)(ImageBatch(image=image))
    expected = gap(image @ full_task.yes.T, 20 * image @ full_task.no.T, power=3.0)
    torch.testing.assert_close(values, expected)


@pytest.mark.usefixtures("_own_scores")
def test_the_embeddings_themselves_and_words_of_a_recipe_can_be_asked_for(
    full_task: Task, image: Tensor
):
    @register_score("odd", words="csp")
    def odd(image: Tensor, logits_negative: Tensor) -> Tensor:
        return image[:, 0] - logits_negative[:, 0]

    assert get_score("odd").words == "csp"
    values = get_score("odd").prepare(full_task)(ImageBatch(image=image))
    assert full_task.negatives is not None
    torch.testing.assert_close(values, image[:, 0] - 20 * image @ full_task.negatives[0])


@pytest.mark.usefixtures("_own_scores")
def test_a_score_that_is_fitted_prepares_itself(full_task: Task, image: Tensor):
    def distance(image: Tensor, mean: Tensor) -> Tensor:
        """Minus the distance from the mean ID image."""
        return -(image - mean).norm(dim=1)

    def prepare(task: Task, *, shrink: float = 1.0) -> scores.Scorer:
        assert task.id_image is not None
        mean = shrink * task.id_image.mean(dim=0)
        return lambda batch: distance(batch.image, mean)

    score = register(make_score(distance, prepare=prepare, needs={"id_images"}))
    assert score.options == {"shrink": 1.0}
    assert score.prepare(full_task)(ImageBatch(image=image)).shape == (40,)
    with pytest.raises(ValueError, match="the task has no id_image and no id_labels"):
        score.prepare(Task(yes=full_task.yes, tau=1.0))


@pytest.mark.usefixtures("_own_scores")
def test_a_name_is_given_once_but_a_function_may_be_defined_again():
    for value in (1.0, 2.0):

        @register_score("constant")
        def constant(logits_yes: Tensor, *, value: float = value) -> Tensor:
            return torch.full_like(logits_yes[:, 0], value)

    assert get_score("constant").options == {"value": 2.0}
    with pytest.raises(ValueError, match="There is a score 'msp' already; take another name"):
        register_score("msp")(scores.energy)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logits: logits, "takes 'logits', which no task gives; a score may take logits_yes"),
        (
            lambda logits_yes, temperature=1.0: logits_yes,
            "takes 'temperature', which no task gives",
        ),
        (lambda *logits_yes_no: logits_yes_no, "takes 'logits_yes_no', which no task gives"),
        (lambda logits_yes, *, power: logits_yes, "The option power of .* needs a default"),
        (lambda logits_yes, *, power=None: logits_yes, "number or a text .* got None"),
        (lambda logits_yes, *, is_hot=True: logits_yes, "number or a text .* got True"),
    ],
)
def test_functions_that_cannot_be_served_are_refused(function, message: str):
    with pytest.raises(ValueError, match=message):
        register_score("wrong")(function)
    assert "wrong" not in SCORES


def test_a_score_without_documentation_is_still_a_score():
    score = make_score(lambda logits_yes: logits_yes.amax(dim=1), name="plain")
    assert isinstance(score, Score)
    assert (score.summary, score.source) == ("", "")
