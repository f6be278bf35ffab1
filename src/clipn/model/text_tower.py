"""open_clip's text transformer, taken out of its CLIP: the yes tower, and the no tower's form."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer, Transformer, text_global_pool
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipn.errors import ModelError
from clipn.model.blocks import Block
from clipn.model.packing import Packing, pack

# Where the embedding is read off at or before the end token, later tokens cannot reach it.
CUTTABLE_POOLING = ("argmax", "eos")


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

    def set_grad_checkpointing(self, is_on: bool) -> None:
        """Choose whether activations are computed again in the backward pass instead of kept."""
        transformer: Any = self.transformer  # nn.Module types its attributes as tensors
        transformer.grad_checkpointing = is_on

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
        prompts: Float[Tensor, "choices prompt_length width"] | None = None,
        prompt_ids: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed token ids, without any work on padding where that cannot reach an embedding.

        Args:
            tokens: Token ids, `cut` or at full length.
            prompts: To be added to the token and positional embeddings at every position; at least
                as long as the longest caption.
            prompt_ids: Which of them each caption gets; the first by default.

        Returns:
            Embeddings, not normalised; those of `embed_padded`.
        """
        if not self._is_packable or len(tokens) == 0:
            return self.embed_padded(self.cut(tokens), prompts, prompt_ids)
        length = tokens.shape[1]
        packing = pack(self._ends(tokens) + 1, context_length=length)
        x = self._look_up(tokens.flatten()[packing.source])
        row, position = packing.source // length, packing.source % length
        x = x + self._add_positions(prompts, prompt_ids, row, position)
        pooled = self.ln_final(self._run_packed(x, packing))
        return self._project(pooled)[packing.order.argsort()]

    def _look_up(self, tokens: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens width"]:
        """The embeddings of tokens.

        Where the table holds a gradient already, that of these tokens is added to their rows alone.
        Else it would be a new table of zeros with some rows: 100 MB in a ViT-B's tower, and on CPUs
        an eighth of a small step's time.
        """
        table = self.token_embedding.weight
        has_gradient = table.grad is not None and table.device.type == "cpu"
        return F.embedding(tokens, table, sparse=has_gradient)

    def _add_positions(
        self,
        prompts: Float[Tensor, "choices prompt_length width"] | None,
        prompt_ids: Int[Tensor, " batch"] | None,
        row: Int[Tensor, " tokens"],
        position: Int[Tensor, " tokens"],
    ) -> Float[Tensor, "tokens width"]:
        """What is added to each token: the embedding of its position, and a prompt's.

        Looked up as embeddings: the gradient of plain indexing is summed up in no fixed order on
        CPUs.
        """
        if prompts is None:
            return F.embedding(position, self.positional_embedding)
        num_positions = prompts.shape[1]
        table = (prompts + self.positional_embedding[:num_positions]).flatten(0, 1)
        if prompt_ids is not None:
            position = prompt_ids[row] * num_positions + position
        return F.embedding(position, table)

    def _run_packed(
        self, x: Float[Tensor, "tokens width"], packing: Packing
    ) -> Float[Tensor, "batch width"]:
        """Run all blocks, the last one only where its outcome is read: at the end tokens."""
        transformer: Any = self.transformer  # nn.Module types its attributes as tensors
        *blocks, last = transformer.resblocks
        for block in blocks:
            if transformer.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block.forward_packed, x, packing, use_reentrant=False)
            else:
                x = block.forward_packed(x, packing)
        return last.forward_ends(x, packing)

    @property
    def _is_packable(self) -> bool:
        """Whether the blocks take captions without padding."""
        return (
            self.is_cuttable
            and type(self.transformer) is Transformer
            and all(type(block) is Block for block in self.transformer.resblocks)
        )

    def embed_padded(
        self,
        tokens: Int[Tensor, "batch length"],
        prompts: Float[Tensor, "choices prompt_length width"] | None = None,
        prompt_ids: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed token ids at the length they have, padding included; else as `forward`."""
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        if prompts is not None:
            own = prompts[:, :length]
            if prompt_ids is None:
                x = x + own[:1]
            else:
                x = x + F.embedding(prompt_ids, own.flatten(1)).unflatten(1, own.shape[1:])
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        x = self.ln_final(self.transformer(x, attn_mask=mask))
        return self._project(text_global_pool(x, tokens, self.pool_type, eos_token_id=self.eos_id))

    def _project(self, pooled: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Into the space that images and texts share."""
        if self.text_projection is None:
            return pooled
        if isinstance(self.text_projection, nn.Module):
            return self.text_projection(pooled)
        return pooled @ self.text_projection

    def trainable_copy(self) -> "TextTower":
        """A copy that shares nothing with this tower and learns: the no tower at its start."""
        return copy.deepcopy(self).requires_grad_(True)

    @torch.no_grad()
    def negate(self) -> None:
        """Turn every embedding into its opposite: the last map's weights change their sign.

        Raises:
            ModelError: If the tower ends in something else than a linear map or a norm.
        """
        last = self.ln_final if self.text_projection is None else self.text_projection
        if isinstance(last, nn.Sequential):
            last = last[-1]
        if not isinstance(last, nn.Parameter | nn.Linear | nn.LayerNorm):
            raise ModelError(
                f"This text tower cannot be negated: it ends in {type(last).__name__}, and neither "
                "in a linear map nor in a norm."
            )
        for weights in [last] if isinstance(last, nn.Parameter) else last.parameters():
            weights.neg_()


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
