"""The score that looks at how an image's own class reacts to a small change of its pixels."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from clipn.scores.baselines import msp
from clipn.scores.inputs import ImageBatch, Scorer, Task


def odin(
    pixels: Float[Tensor, "batch 3 height width"],
    compute_logits: Callable[[Tensor], Tensor],
    *,
    pixel_std: tuple[float, ...],
    epsilon: float = 0.0014,
    logit_temperature: float = 1e4,
) -> Float[Tensor, " batch"]:
    """Softmax of heated logits, after a step of the pixels towards the most likely class.

    x' = x + epsilon sign(grad_x log max_c softmax(l(x) / T)_c), score = max_c softmax(l(x') / T)_c.
    The step makes ID images surer of their class than OOD images.

    Source: Liang et al., "Enhancing The Reliability of Out-of-distribution Image Detection in
        Neural Networks", ICLR 2018, equations 1 and 2.

    Args:
        pixels: x, normalised.
        compute_logits: Maps normalised pixels to l = tau f.g, (batch, classes); differentiable.
        pixel_std: What each channel was divided by when it was normalised.
        epsilon: Size of the step on the scale of pixels from 0 to 1; 0 leaves the pixels as they
            are.
        logit_temperature: T, above 0, of logits and not of cosines.

    Returns:
        From 1 / classes to 1, higher = more in-distribution. Two forward passes and one backward.

    Raises:
        ValueError: If epsilon is below 0, T is not above 0, or not every channel has a deviation.

    Example:
        >>> pixels = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
        >>> two_classes = lambda x: torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], dim=1)
        >>> options = {"pixel_std": (1.0, 1.0, 1.0), "logit_temperature": 10.0}
        >>> round(odin(pixels, two_classes, epsilon=0.0, **options).item(), 4)
        0.7685
        >>> round(odin(pixels, two_classes, epsilon=0.1, **options).item(), 4)
        0.8085
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be at least 0; got {epsilon}.")
    if not logit_temperature > 0:
        raise ValueError(f"logit_temperature must be above 0; got {logit_temperature}.")
    if len(pixel_std) != pixels.shape[1]:
        raise ValueError(
            f"pixel_std must hold a deviation for each of {pixels.shape[1]} channels; "
            f"got {len(pixel_std)}."
        )
    # A caller may be in inference mode, whose tensors can never be differentiated: hence a copy.
    with torch.inference_mode(False), torch.enable_grad():
        inputs = pixels.detach().clone().requires_grad_()
        likeliest = (compute_logits(inputs) / logit_temperature).log_softmax(dim=-1).amax(dim=-1)
        (gradient,) = torch.autograd.grad(likeliest.sum(), inputs)
    step = epsilon / torch.tensor(pixel_std, dtype=pixels.dtype, device=pixels.device)
    with torch.no_grad():
        moved = pixels + step[:, None, None] * gradient.sign()
        return msp(compute_logits(moved) / logit_temperature)


def prepare_odin(task: Task, **options: float) -> Scorer:
    """Make `odin`, whose options these are, ready for a task with encode_image and pixel_std."""
    encode_image, pixel_std = task.encode_image, task.pixel_std
    assert encode_image is not None
    assert pixel_std is not None
    with torch.inference_mode(False):
        columns = task.tau * task.yes.double().T

    def compute_logits(pixels: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Logits of the classes, differentiable by the pixels."""
        return encode_image(pixels).double() @ columns

    def score(batch: ImageBatch) -> Float[Tensor, " batch"]:
        """Score images from their pixels."""
        if batch.pixels is None:
            raise ValueError("The score 'odin' needs pixels; the batch has none.")
        return odin(batch.pixels, compute_logits, pixel_std=pixel_std, **options)

    return score
