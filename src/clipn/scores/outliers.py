"""The score that knows names of outliers."""

import torch
from jaxtyping import Float
from torch import Tensor


def eoe(
    cosines: Float[Tensor, "batch classes"],
    outlier_cosines: Float[Tensor, "batch outliers"],
    *,
    temperature: float = 1.0,
    beta: float = 0.25,
) -> Float[Tensor, " batch"]:
    """Envisioned outlier exposure: the best class against the best of the named outliers.

    With p = softmax([s, s_outliers] / T) over classes and outliers together, of raw cosines, the
    score is max_{c is a class} p_c - beta max_{c is an outlier} p_c. The authors let a language
    model name the outliers; here the names come from whoever evaluates.

    Source: Cao et al., "Envisioning Outlier Exposure by Large Language Models for
        Out-of-Distribution Detection", ICML 2024.

    Args:
        cosines: s = f.g of the classes, not times tau.
        outlier_cosines: Those of the outliers' names, at least one.
        temperature: T, above 0.
        beta: How much the best outlier counts, at least 0.

    Returns:
        From -beta to 1, higher = more in-distribution.

    Raises:
        ValueError: If there is no outlier, `temperature` is not above 0, or `beta` is below 0.

    Example:
        >>> eoe(torch.zeros(1, 3), torch.zeros(1, 1)).item()
        0.1875
    """
    num_classes, num_outliers = cosines.shape[1], outlier_cosines.shape[1]
    if num_outliers == 0:
        raise ValueError("outlier_cosines must hold at least one outlier; got none.")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0; got {temperature}.")
    if not beta >= 0:
        raise ValueError(f"beta must be at least 0; got {beta}.")
    together = torch.cat([cosines, outlier_cosines], dim=-1)
    inside, outside = (
        (together / temperature).softmax(dim=-1).split([num_classes, num_outliers], dim=-1)
    )
    return inside.amax(dim=-1) - beta * outside.amax(dim=-1)
