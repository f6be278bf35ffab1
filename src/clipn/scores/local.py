"""The score that also looks at the parts of an image."""

from jaxtyping import Float
from torch import Tensor

from clipn.scores.baselines import mcm


def gl_mcm(
    cosines: Float[Tensor, "batch classes"],
    patch_cosines: Float[Tensor, "batch patches classes"],
    *,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> Float[Tensor, " batch"]:
    """Global and local concept matching: `mcm` of the image plus `mcm` of its best patch.

    Score = max_c softmax(s / T)_c + weight max_p max_c softmax(s_p / T)_c of raw cosines. With
    weight 0 it equals `mcm`.

    Source: Miyai et al., "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
        Out-of-Distribution Detection", IJCV 2025.

    Args:
        cosines: s = f.g, not times tau.
        patch_cosines: s_p, those of the patch embeddings.
        temperature: T, above 0.
        weight: Of the local term, at least 0; the authors take 1, and 0.5 for ImageNet.

    Returns:
        From (1 + weight) / classes to 1 + weight, higher = more in-distribution.

    Raises:
        ValueError: If `temperature` is not above 0 or `weight` below 0.

    Example:
        >>> import torch
        >>> gl_mcm(torch.zeros(1, 4), torch.zeros(1, 9, 4)).item()
        0.5
    """
    if not weight >= 0:
        raise ValueError(f"weight must be at least 0; got {weight}.")
    patches = mcm(patch_cosines.flatten(end_dim=1), temperature=temperature)
    best = patches.view(patch_cosines.shape[:2]).amax(dim=-1)
    return mcm(cosines, temperature=temperature) + weight * best
