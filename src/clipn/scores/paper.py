"""CLIPN's own scores and decision rules, which weigh "yes" against "no"."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def _agreed_mass(
    logits_yes: Float[Tensor, "batch classes"], logits_no: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes"]:
    """(1 - p_c^no) p_c: what is left of a class's probability when its "no" has been heard."""
    return torch.sigmoid(logits_yes - logits_no) * logits_yes.softmax(dim=-1)


def ctw(
    logits_yes: Float[Tensor, "batch classes"], logits_no: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """Competing to win: what the "no" of the most likely class leaves of it.

    With j = argmax_c l_c the score is 1 - p_j^no = sigmoid(l_j - n_j).

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023,
        section 3.4.

    Args:
        logits_yes: l = tau f.g, times the temperature already.
        logits_no: n = tau f.g^no.

    Returns:
        From 0 to 1, higher = more in-distribution; the paper's rule refuses below 0.5.

    Example:
        >>> ctw(torch.tensor([[9.0, 1.0]]), torch.tensor([[9.0, 0.0]])).item()
        0.5
    """
    best = logits_yes.argmax(dim=-1, keepdim=True)
    return torch.sigmoid((logits_yes - logits_no).gather(-1, best)).squeeze(-1)


def atd(
    logits_yes: Float[Tensor, "batch classes"], logits_no: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """Agreeing to differ: the mass that all classes keep when each has heard its own "no".

    Score = 1 - p_{C+1} = sum_c (1 - p_c^no) p_c, with p = softmax(l), p_c^no = sigmoid(n_c - l_c).
    With one class it equals `ctw`.

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023,
        section 3.4.

    Args:
        logits_yes: l = tau f.g, times the temperature already.
        logits_no: n = tau f.g^no.

    Returns:
        From 0 to 1, higher = more in-distribution.

    Example:
        >>> atd(torch.tensor([[4.0, 4.0]]), torch.tensor([[4.0, 4.0]])).item()
        0.5
    """
    return _agreed_mass(logits_yes, logits_no).sum(dim=-1)


def ctw_refuses(
    logits_yes: Float[Tensor, "batch classes"], logits_no: Float[Tensor, "batch classes"]
) -> Bool[Tensor, " batch"]:
    """The rule of `ctw`: out-of-distribution iff p_j^no > 0.5 for the most likely class j.

    Example:
        >>> ctw_refuses(torch.tensor([[9.0, 1.0]]), torch.tensor([[9.1, 0.0]])).item()
        True
    """
    best = logits_yes.argmax(dim=-1, keepdim=True)
    return (logits_no > logits_yes).gather(-1, best).squeeze(-1)


def atd_refuses(
    logits_yes: Float[Tensor, "batch classes"], logits_no: Float[Tensor, "batch classes"]
) -> Bool[Tensor, " batch"]:
    """The rule of `atd`: out-of-distribution iff the unknown mass exceeds that of every class.

    p_{C+1} > max_c (1 - p_c^no) p_c, where p_{C+1} = 1 - sum_c (1 - p_c^no) p_c.

    Example:
        >>> atd_refuses(torch.tensor([[9.0, 1.0]]), torch.tensor([[8.0, 0.0]])).item()
        False
    """
    mass = _agreed_mass(logits_yes, logits_no)
    return 1 - mass.sum(dim=-1) > mass.amax(dim=-1)
