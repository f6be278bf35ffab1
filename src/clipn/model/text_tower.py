"""open_clip's text transformer, taken out of its CLIP: the yes tower, and the no tower's form."""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import (
    ResidualAttentionBlock,
    TextTransformer,
    Transformer,
    text_global_pool,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipn.errors import ModelError

# Where the embedding is read off at or before the end token, later tokens cannot reach it.
CUTTABLE_POOLING = ("argmax", "eos")
# Captions of similar length are embedded together: up to eight groups, of enough rows each to keep
# the matrix products efficient.
MIN_GROUP, MAX_GROUPS = 64, 8


class TextTower(nn.Module):
    """A text transformer of open_clip's own, with a place for prompts added to its input.

    The modules are shared with the CLIP that they come from. open_clip keeps them in the model
    itself (`CLIP`) or in `model.text` (`CustomTextCLIP`); here they always bear the same names.

    Args:
        clip: An open_clip model.

    Raises:
        ModelError: If its text tower cannot get a "no".
    """

    attn_mask: Tensor | None

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        source = _find_text_transformer(clip)
        self.token_embedding: nn.Embedding = source.token_embedding
        self.positional_embedding: nn.Parameter = source.positional_embedding
        self.transformer: nn.Module = source.transformer
        self.ln_final: nn.Module = source.ln_final
        self.text_projection: nn.Module | nn.Parameter | None = source.text_projection
        is_inlined = isinstance(clip, CLIP)
        self.pool_type: str = source.text_pool_type if is_inlined else source.pool_type
        self.eos_id: int = source.text_eos_id if is_inlined else source.eos_id
        self.register_buffer("attn_mask", source.attn_mask, persistent=False)

    @property
    def context_length(self) -> int:
        """Number of tokens of a full caption."""
        return len(self.positional_embedding)

    @property
    def width(self) -> int:
        """Size of a token's embedding."""
        return self.positional_embedding.shape[1]

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only those before it."""
        return self.attn_mask is not None

    @property
    def is_cuttable(self) -> bool:
        """Whether what follows a caption's end token cannot reach its embedding."""
        return self.is_causal and self.pool_type in CUTTABLE_POOLING

    def cut(self, tokens: Int[Tensor, "batch length"]) -> Int[Tensor, "batch cut_length"]:
        """Drop the columns after the last end token of the batch, where that cannot change a thing.

        In a causal tower that reads its embedding off at the end token this is exact; any other
        tower gets its tokens back as they are.

        Args:
            tokens: Token ids, padded at the end.

        Returns:
            The first columns of `tokens`.
        """
        if not self.is_cuttable or len(tokens) == 0:
            return tokens
        return tokens[:, : int(self._ends(tokens).max()) + 1]

    def _ends(self, tokens: Int[Tensor, "batch length"]) -> Int[Tensor, " batch"]:
        """The position of each caption's end token."""
        is_end = tokens == self.eos_id if self.pool_type == "eos" else tokens
        return is_end.int().argmax(dim=-1)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        prompt: Float[Tensor, "#batch prompt_length width"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed token ids: where captions can be cut, in groups of similar length.

        Args:
            tokens: Token ids, `cut` or at full length.
            prompt: Added to the token and positional embeddings at every position; at least as
                long as the longest caption.

        Returns:
            Embeddings, not normalised; those of `embed`, without the work on padding.
        """
        num_groups = min(len(tokens) // MIN_GROUP, MAX_GROUPS) if self.is_cuttable else 1
        if num_groups < 2:
            return self.embed(self.cut(tokens), prompt)
        by_length = self._ends(tokens).argsort(stable=True)
        parts = []
        for rows in by_length.chunk(num_groups):
            own = prompt if prompt is None or len(prompt) == 1 else prompt[rows]
            parts.append(self.embed(self.cut(tokens[rows]), own))
        return torch.cat(parts)[by_length.argsort()]

    def embed(
        self,
        tokens: Int[Tensor, "batch length"],
        prompt: Float[Tensor, "#batch prompt_length width"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed token ids at the length they have, padding included; else as `forward`."""
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        if prompt is not None:
            x = x + prompt[:, :length]
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        if self._ends_in_known_block:
            pooled = self.ln_final(self._pool_in_last_block(x, self._ends(tokens), mask))
        else:
            x = self.ln_final(self.transformer(x, attn_mask=mask))
            pooled = text_global_pool(x, tokens, self.pool_type, eos_token_id=self.eos_id)
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Module):
            return self.text_projection(pooled)
        return pooled @ self.text_projection

    @property
    def _ends_in_known_block(self) -> bool:
        """Whether the last block can be run for the end tokens alone."""
        transformer = self.transformer
        return (
            self.is_cuttable
            and type(transformer) is Transformer
            and transformer.batch_first
            and type(transformer.resblocks[-1]) is ResidualAttentionBlock
        )

    def _pool_in_last_block(
        self,
        x: Float[Tensor, "batch length width"],
        ends: Int[Tensor, " batch"],
        mask: Float[Tensor, "length length"] | None,
    ) -> Float[Tensor, "batch width"]:
        """Run all blocks, the last one only where its outcome is read: at the end tokens.

        There every other token is needed as key and value alone, which leaves out most of a block:
        6 % of all products at 12 blocks.
        """
        resblocks: Any = self.transformer.resblocks  # nn.Module types its attributes as tensors
        *blocks, last = resblocks
        for block in blocks:
            if self.transformer.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, attn_mask=mask, use_reentrant=False)
            else:
                x = block(x, attn_mask=mask)
        at_end = (torch.arange(len(x), device=x.device), ends)
        keys = last.ln_1(x)
        if mask is not None:  # a row a caption and head
            mask = mask[ends].repeat_interleave(last.attn.num_heads, dim=0)[:, None]
        seen = last.attention(keys[at_end][:, None], keys, keys, attn_mask=mask)
        pooled = x[at_end] + last.ls_1(seen)[:, 0]
        return pooled + last.ls_2(last.mlp(last.ln_2(pooled)))

    def trainable_copy(self) -> "TextTower":
        """A copy that shares nothing with this tower and learns: the no tower at its start."""
        return copy.deepcopy(self).requires_grad_(True)


def _find_text_transformer(clip: nn.Module) -> Any:
    """The module that holds the text transformer's parts, or a reason why there is none."""
    needs = "CLIPN needs a CLIP whose text tower is open_clip's own transformer"
    if type(clip) is CLIP:
        return clip
    if type(clip) is not CustomTextCLIP:
        raise ModelError(f"{type(clip).__name__} cannot get a 'no': {needs}, as in ViT-B-16.")
    tower = clip.text
    if not isinstance(tower, TextTransformer):
        raise ModelError(f"A text tower of type {type(tower).__name__} cannot get a 'no': {needs}.")
    if tower.cls_emb is not None or tower.use_pad_mask:
        raise ModelError(
            f"A text tower with a class token or padding mask cannot get a 'no': {needs}."
        )
    return tower


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in module.parameters())


def is_finite(module: nn.Module) -> bool:
    """Whether no weight is NaN or infinite, batch norm's averages included."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values())
