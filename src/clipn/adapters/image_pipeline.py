"""A zero-shot classifier that is called like transformers' pipeline, and may answer "none"."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from clipn.data.image_batches import load_batches
from clipn.data.images import ImageSource
from clipn.errors import DataError
from clipn.model import CLIPN, ClassBank
from clipn.predictions import NONE_OF_THESE

__all__ = ["ZeroShotImagePipeline"]

Ranking = list[dict[str, Any]]


class ZeroShotImagePipeline:
    """Ranks candidate labels for images, as transformers' "zero-shot-image-classification" does.

    One more label, "none of these", gets what the rule ATD gives it: the unknown mass
    p_{C+1} = 1 - sum_c (1 - p_c^no) p_c, beside (1 - p_c^no) p_c for each candidate. It comes first
    exactly where ATD refuses. A plain CLIP has no "no", and ranks the candidates by their softmax.

    Args:
        model: A CLIP, with or without its "no".
        batch_size: Images embedded at once.
    """

    def __init__(self, model: CLIPN, *, batch_size: int = 64) -> None:
        self.model, self.batch_size = model, batch_size
        self._bank: tuple[tuple[tuple[str, ...], str | None], ClassBank] | None = None

    def __call__(
        self,
        image: ImageSource | Sequence[ImageSource],
        candidate_labels: Sequence[str],
        *,
        hypothesis_template: str | None = None,
    ) -> Ranking | list[Ranking]:
        """Rank the labels.

        Args:
            image: A path, PIL image, array, tensor or encoded bytes; or a list of them.
            candidate_labels: The classes, none empty and none twice.
            hypothesis_template: A prompt template with one {}; the model's own templates by
                default.

        Returns:
            Dicts with "score" and "label", the highest score first, which together are 1; for a
            list of images a list of them.

        Raises:
            DataError: If an image cannot be read.
            ValueError: If labels or template are wrong.
        """
        is_one = isinstance(image, str | bytes | Path | Image.Image) or hasattr(image, "shape")
        images: Sequence[Any] = [image] if is_one else image  # pyright: ignore[reportAssignmentType]
        bank = self._embed(tuple(candidate_labels), hypothesis_template)
        rankings: list[Ranking] = []
        for batch in load_batches(images, self.model.preprocess, batch_size=self.batch_size):
            if batch.errors:
                raise DataError(next(iter(batch.errors.values())))
            assert batch.pixels is not None
            rankings += [_rank(bank.names, row) for row in self._weigh(batch.pixels, bank)]
        return rankings[0] if is_one else rankings

    def _embed(self, labels: tuple[str, ...], template: str | None) -> ClassBank:
        """The labels' embeddings; those of the last call are kept."""
        key = (labels, template)
        if self._bank is None or self._bank[0] != key:
            templates = None if template is None else [template]
            self._bank = (key, self.model.class_bank(labels, templates=templates))
        return self._bank[1]

    @torch.inference_mode()
    def _weigh(
        self, pixels: Float[Tensor, "batch 3 height width"], bank: ClassBank
    ) -> list[list[float]]:
        """Scores of the classes and, with a "no", of none of them."""
        embeddings = self.model.encode_image(pixels).double()
        yes = self.model.tau * embeddings @ bank.yes.double().T
        shares = yes.softmax(dim=-1)
        if bank.no is not None:
            no = self.model.tau * embeddings @ bank.no.double().T
            kept = shares * (yes - no).sigmoid()
            shares = torch.cat([kept, 1 - kept.sum(dim=-1, keepdim=True)], dim=-1)
        return shares.tolist()


def _rank(names: tuple[str, ...], scores: list[float]) -> Ranking:
    labels = (*names, NONE_OF_THESE)[: len(scores)]
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
    return [{"score": score, "label": label} for score, label in ranked]
