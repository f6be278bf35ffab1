"""Scores that need no "no": of the logits, or of the raw cosines."""

from jaxtyping import Float
from torch import Tensor


def msp(logits_yes: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Maximum softmax probability: max_c softmax(l)_c.

    Source: Hendrycks & Gimpel, ICLR 2017, on CLIP's logits (times tau).

    Args:
        logits_yes: l = tau f.g, times the temperature already.

    Returns:
        From 1 / classes to 1, higher = more in-distribution.

    Example:
        >>> import torch
        >>> msp(torch.zeros(1, 4)).item()
        0.25
    """
    return logits_yes.softmax(dim=-1).amax(dim=-1)


def max_logit(logits_yes: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Maximum logit: max_c l_c.

    Source: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML
        2022.

    Args:
        logits_yes: l = tau f.g, times the temperature already.

    Returns:
        From -tau to tau, higher = more in-distribution.

    Example:
        >>> import torch
        >>> max_logit(torch.tensor([[3.0, 7.0]])).item()
        7.0
    """
    return logits_yes.amax(dim=-1)


def energy(logits_yes: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Negative free energy: log sum_c exp(l_c).

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, at temperature
        1.

    Args:
        logits_yes: l = tau f.g, times the temperature already.

    Returns:
        Any number, higher = more in-distribution.

    Example:
        >>> import torch
        >>> round(energy(torch.zeros(1, 2)).item(), 4)
        0.6931
    """
    return logits_yes.logsumexp(dim=-1)


def mcm(
    cosines: Float[Tensor, "batch classes"], *, temperature: float = 1.0
) -> Float[Tensor, " batch"]:
    """Maximum concept matching: max_c softmax(s / T)_c of the raw cosines s = f.g.

    At T = 1 / tau it equals `msp`.

    Source: Ming et al., "Delving into Out-of-Distribution Detection with Vision-Language
        Representations", NeurIPS 2022, equation 1.

    Args:
        cosines: s, not times tau.
        temperature: T, above 0.

    Returns:
        From 1 / classes to 1, higher = more in-distribution.

    Raises:
        ValueError: If `temperature` is not above 0.

    Example:
        >>> import torch
        >>> mcm(torch.zeros(1, 4)).item()
        0.25
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0; got {temperature}.")
    return (cosines / temperature).softmax(dim=-1).amax(dim=-1)
