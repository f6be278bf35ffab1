"""Embeddings of the parts of an image, in the space of the text embeddings."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn

from clipn.errors import ModelError

__all__ = ["encode_patches", "grid_of_patches"]


def encode_patches(
    visual: nn.Module, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch patches dim"]:
    """Embed each part of an image: the tower's last step, for every position on its own.

    What mixes the positions into one embedding is left out; all else is as for the whole image.

    - VisionTransformer: in the last block every token attends to itself alone, so that the
      attention is value and output projection, x' = x + W_o (W_v ln_1(x) + b_v) + b_o; the block's
      residuals and MLP stay, and final norm and projection follow. The class token is dropped.
    - ModifiedResNet: the attention pool's value and output projection of the feature at each
      position, W_c (W_v x + b_v) + b_c, without the positional embedding.
    - timm networks that average a feature map: all that follows the average, at each position.
      Where that is linear, as in the compact model, the mean over the positions before they are
      normalised is the embedding of the whole image before it is normalised.

    Args:
        visual: The image tower of a CLIP, in evaluation.
        pixels: Preprocessed images of the tower's size.

    Returns:
        L2-normalised embeddings of the positions, row by row.

    Raises:
        ModelError: If the tower pools in another way, as SigLIP's does.

    Source: Miyai et al., "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
        Out-of-Distribution Detection", arXiv 2304.04521, which takes over Zhou et al., "Extract
        Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022.
    """
    if isinstance(visual, VisionTransformer) and _pools_a_token(visual):
        patches = _encode_transformer(visual, pixels)
    elif isinstance(visual, ModifiedResNet):
        patches = _encode_resnet(visual, pixels)
    elif isinstance(visual, TimmModel) and _averages_a_map(visual):
        patches = _encode_averaging(visual, pixels)
    else:
        tower = visual.trunk if isinstance(visual, TimmModel) else visual
        raise ModelError(
            f"An image tower of type {type(tower).__name__}, pooled as it is here, has no "
            "embeddings of patches. Towers that have: open_clip's VisionTransformer (ViT-B-16), "
            "its ModifiedResNet (RN50), and timm networks that average a feature map before a "
            'linear projection ("compact").'
        )
    return F.normalize(patches.float(), dim=-1)


def grid_of_patches(num_patches: int, *, height: int, width: int) -> tuple[int, int]:
    """How many rows and columns the positions of an image form.

    Args:
        num_patches: How many there are.
        height: Of the image, in pixels.
        width: Likewise.

    Raises:
        ModelError: If no grid of as good as square parts has that many.

    Example:
        >>> grid_of_patches(196, height=224, width=224)
        (14, 14)
    """
    rows = max(1, round((num_patches * height / width) ** 0.5))
    columns = num_patches // rows
    if rows * columns != num_patches:
        raise ModelError(f"{num_patches} parts of an image of {height}x{width} form no grid.")
    return rows, columns


def _pools_a_token(visual: VisionTransformer) -> bool:
    """Whether the embedding is that of the class token, or of the average of the others."""
    return visual.attn_pool is None and visual.pool_type in ("tok", "avg")


def _encode_transformer(
    visual: VisionTransformer, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch patches dim"]:
    x = visual._embeds(pixels)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    length = x.shape[1]
    # An additive mask that hides all tokens but the one that attends.
    alone = x.new_full((length, length), float("-inf")).fill_diagonal_(0)
    x = visual.ln_post(last(x, attn_mask=alone)[:, 1:])
    return x if visual.proj is None else x @ visual.proj


def _encode_resnet(
    visual: ModifiedResNet, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch patches dim"]:
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    # (batch, channels, rows, columns) -> (batch, patches, channels)
    x = x.flatten(2).transpose(1, 2)
    pool = visual.attnpool
    return pool.c_proj(pool.v_proj(x))


def _averages_a_map(visual: TimmModel) -> bool:
    """Whether the tower averages a map (batch, channels, rows, columns) and then projects it."""
    pools = [m for m in visual.trunk.modules() if isinstance(m, SelectAdaptivePool2d)]
    return (
        len(pools) == 1
        and pools[0].pool_type in ("avg", "fast", "fastavg")
        and getattr(visual.trunk, "output_fmt", "NCHW") == "NCHW"
        and all(isinstance(module, nn.Dropout | nn.Linear) for module in visual.head)
    )


def _encode_averaging(
    visual: TimmModel, pixels: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch patches dim"]:
    trunk: Any = visual.trunk  # timm's networks share these methods, but no type
    features = trunk.forward_features(pixels)
    # (batch, channels, rows, columns) -> (batch, patches, channels)
    positions = features.flatten(2).transpose(1, 2)
    # The average over a map of one position is that position: (batch * patches, channels, 1, 1)
    alone = positions.flatten(0, 1)[..., None, None]
    embeddings = visual.head(trunk.forward_head(alone))
    return embeddings.unflatten(0, positions.shape[:2])
