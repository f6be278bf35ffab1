"""Why a detector answers as it does: the numbers that decided, in figures and in words."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from clipn.calibration import AnyCalibration, ConformalCalibration
from clipn.predictions import Prediction, Rule

__all__ = ["ClassEvidence", "Evidence", "Explanation", "rank_classes", "weigh"]


@dataclass(frozen=True, kw_only=True)
class ClassEvidence:
    """What one class means to an image.

    Attributes:
        name: The class.
        logit_yes: tau times the cosine with it.
        logit_no: tau times the cosine with its "no"; None for a plain CLIP.
        p_yes: softmax(logit_yes) over all classes.
        p_no: sigmoid(logit_no - logit_yes); None for a plain CLIP.
    """

    name: str
    logit_yes: float
    logit_no: float | None
    p_yes: float
    p_no: float | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The comparison that decided.

    Attributes:
        rule: What decided. "ctw" and "atd" refuse a value above the bound, "threshold" one below.
        quantity: What was compared, in words.
        value: Its value.
        bound: What it was compared with.
        p_value: How usual the score is among the calibration images (see
            `clipn.metrics.conformal_p_values`); None unless calibrated by the method "conformal".
        reason: The comparison as a sentence.
    """

    rule: Rule
    quantity: str
    value: float
    bound: float
    p_value: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why an image was named or refused.

    Attributes:
        prediction: The answer, as `Detector.predict` gives it.
        evidence: What decided.
        classes: The likeliest classes, best first.
        no_map: p_no of the best class for each part of the image, (rows, columns) from top left;
            None where there is none.
        no_map_absence: Why there is none.
    """

    prediction: Prediction
    evidence: Evidence
    classes: tuple[ClassEvidence, ...]
    no_map: Float[np.ndarray, "rows columns"] | None
    no_map_absence: str | None


def rank_classes(
    names: tuple[str, ...],
    yes: Float[np.ndarray, " classes"],
    no: Float[np.ndarray, " classes"] | None,
) -> tuple[ClassEvidence, ...]:
    """Logits and probabilities of all classes.

    Args:
        names: The classes, best first.
        yes: Their logits.
        no: The logits of their "no".
    """
    masses = np.exp(yes - yes.max())
    p_yes = masses / masses.sum()
    return tuple(
        ClassEvidence(
            name=name,
            logit_yes=float(yes[row]),
            logit_no=None if no is None else float(no[row]),
            p_yes=float(p_yes[row]),
            p_no=None if no is None else _sigmoid(float(no[row] - yes[row])),
        )
        for row, name in enumerate(names)
    )


def weigh(
    prediction: Prediction,
    classes: tuple[ClassEvidence, ...],
    *,
    rule: Rule,
    score_name: str,
    bound: float | None,
    calibration: AnyCalibration | None,
) -> Evidence:
    """Say which comparison decided.

    Args:
        prediction: The answer.
        classes: All classes, best first.
        rule: What decided.
        score_name: Which score was taken.
        bound: The threshold of the best class, for the rule "threshold".
        calibration: Where it is from.
    """
    if rule == "ctw":
        quantity, value, limit, reason = _weigh_ctw(prediction, classes)
    elif rule == "atd":
        quantity, value, limit, reason = _weigh_atd(prediction, classes)
    else:
        assert bound is not None
        quantity, value, limit = f"the score {score_name}", prediction.score, bound
        reason = _compare(quantity, value, limit, ("is below", "reaches"), prediction)
        reason += f', the threshold of "{prediction.best_class}"'
    if prediction.p_value is not None:
        assert isinstance(calibration, ConformalCalibration), "nothing else makes a p-value"
        relation = "is not above" if prediction.is_ood else "is above"
        reason += f"; the p-value {prediction.p_value:.3g} {relation} alpha {calibration.alpha:.3g}"
    return Evidence(
        rule=rule,
        quantity=quantity,
        value=value,
        bound=limit,
        p_value=prediction.p_value,
        reason=reason[0].upper() + reason[1:] + ".",
    )


def _weigh_ctw(
    prediction: Prediction, classes: tuple[ClassEvidence, ...]
) -> tuple[str, float, float, str]:
    """Quantity, value, bound and reason of the rule CTW."""
    quantity, value = f'the no of "{prediction.best_class}"', _p_no(classes[0])
    reason = _compare(quantity, value, 0.5, ("is above", "is not above"), prediction)
    return quantity, value, 0.5, f"{reason}, where it outweighs the yes"


def _weigh_atd(
    prediction: Prediction, classes: tuple[ClassEvidence, ...]
) -> tuple[str, float, float, str]:
    """Quantity, value, bound and reason of the rule ATD."""
    kept = [(one.p_yes * (1 - _p_no(one)), one.name) for one in classes]
    limit, largest = max(kept)
    quantity, value = 'the mass of "none of these"', 1 - sum(mass for mass, _ in kept)
    reason = _compare(quantity, value, limit, ("exceeds", "does not exceed"), prediction)
    return quantity, value, limit, f'{reason}, what "{largest}" keeps after its no'


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return float(0.5 * (1 + np.tanh(0.5 * x)))


def _p_no(one: ClassEvidence) -> float:
    assert one.p_no is not None, "a rule that weighs the no is refused where there is none"
    return one.p_no


def _compare(
    quantity: str, value: float, bound: float, verbs: tuple[str, str], prediction: Prediction
) -> str:
    """The verb is the first one for an image that was refused."""
    verb = verbs[0] if prediction.is_ood else verbs[1]
    digits = 4 if f"{value:.4g}" != f"{bound:.4g}" else 9
    return f"{quantity}, {value:.{digits}g}, {verb} {bound:.{digits}g}"
