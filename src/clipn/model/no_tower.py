"""The part that learns: a second text tower, and prompts that turn a caption into its "no"."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from clipn.model.text_tower import TextTower

NoStart = Literal["same", "opposite"]


class NoTower(nn.Module):
    """A trainable copy of the yes tower, with a pool of prompts or (0 of them) without.

    Prompts have the size of a full caption, are zero at the start, and are added to the token and
    positional embeddings at every position.

    Args:
        yes: The tower to copy.
        num_prompts: Size of the pool; 16 in the paper, 0 for the hand-crafted variant.
        start: What a caption's "no" is before it is learned: the same as the caption's embedding,
            as in the paper, or its opposite, where TSO would take it.

    Raises:
        ModelError: If the opposite is asked for and the tower ends in a map that has none.
        ValueError: If `start` is unknown.
    """

    def __init__(self, yes: TextTower, *, num_prompts: int, start: NoStart = "same") -> None:
        super().__init__()
        if start not in ("same", "opposite"):
            raise ValueError(f"start must be 'same' or 'opposite'; got {start!r}.")
        self.text = yes.trainable_copy()
        if start == "opposite":
            self.text.negate()
        self.prompts: nn.Parameter | None = None
        if num_prompts:
            shape = (num_prompts, yes.context_length, yes.width)
            self.prompts = nn.Parameter(torch.zeros(shape, device=yes.positional_embedding.device))

    @property
    def num_prompts(self) -> int:
        """Size of the pool."""
        return 0 if self.prompts is None else len(self.prompts)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        prompt_ids: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed the "no" of captions.

        Args:
            tokens: Token ids of the captions (hand-crafted: of the negated captions).
            prompt_ids: Which prompt each caption gets, from 0 to num_prompts, the last being the
                mean of all. Without it every caption gets the mean, as in inference.

        Returns:
            L2-normalised embeddings in float32.

        Raises:
            ValueError: If prompts are chosen where there are none.
        """
        if self.prompts is None:
            if prompt_ids is not None:
                raise ValueError("This no tower has no prompts; prompt_ids must be None.")
            return F.normalize(self.text(tokens).float(), dim=-1)
        pool = self.prompts[:, : self.text.cut(tokens).shape[1]]
        choices = mean = pool.mean(dim=0, keepdim=True)
        if prompt_ids is not None:
            choices = torch.cat([pool, mean])
        return F.normalize(self.text(tokens, choices, prompt_ids).float(), dim=-1)
