"""open_clip's residual attention block, without its detours: the same weights and the same sums."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from clipn.model.packing import Packing
from clipn.products import linear

Heads = Float[Tensor, "batch heads length head_dim"]


class Block(ResidualAttentionBlock):
    """A residual attention block whose products go through `clipn.products.linear`.

    Besides whole rows of tokens it takes packed captions, without padding; see `Packing`.
    """

    def forward(
        self,
        q_x: Float[Tensor, "batch length width"],
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Float[Tensor, "length length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """As open_clip's block, which this one stands in for.

        Args:
            q_x: Tokens.
            k_x: None; something else to attend to is for other blocks.
            v_x: None, likewise.
            attn_mask: Added to the attention's logits.
        """
        assert k_x is None
        assert v_x is None
        q, k, v = self._split_heads(self._project_in(self.ln_1(q_x), first=0))
        mask = None if attn_mask is None else attn_mask.to(q.dtype)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self._finish(q_x, seen.transpose(1, 2).flatten(-2))

    def forward_packed(
        self, x: Float[Tensor, "tokens width"], packing: Packing
    ) -> Float[Tensor, "tokens width"]:
        """Run packed captions through the block; each token sees those before it.

        Args:
            x: Packed tokens.
            packing: How they lie.
        """
        projected = self._project_in(self.ln_1(x), first=0)
        seen = []
        for rows, (_, length) in zip(projected.split(packing.sizes), packing.groups, strict=True):
            q, k, v = self._split_heads(rows.unflatten(0, (-1, length)))
            heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            seen.append(heads.transpose(1, 2).flatten(-2).flatten(0, 1))
        return self._finish(x, torch.cat(seen))

    def forward_ends(
        self, x: Float[Tensor, "tokens width"], packing: Packing
    ) -> Float[Tensor, "batch width"]:
        """Run packed captions through the block, for the last token of each alone.

        All other tokens are then needed as key and value only, which leaves out most of a block.

        Args:
            x: Packed tokens.
            packing: How they lie.

        Returns:
            The last tokens, in the order of `packing.ends`.
        """
        normed = self.ln_1(x)
        width = x.shape[1]
        queries = self._project_in(normed[packing.ends], first=0, last=width)
        keys_values = self._project_in(normed, first=width)
        seen = []
        for rows, own, (number, length) in zip(
            keys_values.split(packing.sizes),
            queries.split([number for number, _ in packing.groups]),
            packing.groups,
            strict=True,
        ):
            (q,) = self._split_heads(own[:, None])
            k, v = self._split_heads(rows.unflatten(0, (number, length)))
            heads = F.scaled_dot_product_attention(q, k, v)
            seen.append(heads.transpose(1, 2).flatten(1))
        return self._finish(x[packing.ends], torch.cat(seen))

    def _project_in(
        self, x: Float[Tensor, "*rows width"], *, first: int, last: int | None = None
    ) -> Float[Tensor, "*rows outputs"]:
        """Some of the queries, keys and values, which share one matrix."""
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        assert weight is not None
        return linear(x, weight[first:last], None if bias is None else bias[first:last])

    def _split_heads(self, x: Float[Tensor, "batch length outputs"]) -> tuple[Heads, ...]:
        """Those that one projection has given, each (batch, heads, length, head_dim)."""
        heads = x.unflatten(-1, (-1, self.attn.num_heads, self.attn.head_dim))
        return heads.permute(2, 0, 3, 1, 4).unbind()

    def _finish(
        self, x: Float[Tensor, "*rows width"], seen: Float[Tensor, "*rows width"]
    ) -> Float[Tensor, "*rows width"]:
        """All that follows the attention."""
        out: nn.Linear = self.attn.out_proj
        mlp: Any = self.mlp  # whose parts have names
        x = x + self.ls_1(linear(seen, out.weight, out.bias))
        hidden = mlp.gelu(linear(self.ln_2(x), mlp.c_fc.weight, mlp.c_fc.bias))
        return x + self.ls_2(linear(hidden, mlp.c_proj.weight, mlp.c_proj.bias))


def simplify_blocks(module: nn.Module) -> None:
    """Turn open_clip's own blocks, wherever they are in a module, into `Block`.

    Weights and their names stay. Blocks of any other kind stay as they are.

    Args:
        module: A CLIP, or a part of one.
    """
    for block in module.modules():
        if _is_plain(block):
            block.__class__ = Block


def _is_plain(block: nn.Module) -> bool:
    """Whether a block is what `Block` computes."""
    if type(block) is not ResidualAttentionBlock or hasattr(block, "ln_1_kv"):
        return False
    attention: Any = block.attn
    return (
        attention.batch_first
        and attention._qkv_same_embed_dim
        and attention.bias_k is None
        and not attention.add_zero_attn
        and attention.dropout == 0
    )
