"""The compact model's image tower, registered with timm so that open_clip can build it by name."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

__all__ = ["clipn_resnet16"]

default_cfgs = generate_default_cfgs(
    {
        "clipn_resnet16": {
            "input_size": (3, 64, 64),
            "pool_size": (4, 4),
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def clipn_resnet16(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """A 16-layer timm ResNet for images of 64 px: narrow, and without the stem's max-pooling.

    Args:
        pretrained: Must be False; the weights come with the compact model.
        **kwargs: Passed on to timm's builder and `timm.models.resnet.ResNet`.

    Returns:
        A network of 6.3 M parameters; a (3, 64, 64) image leaves its trunk as (384, 4, 4).
    """
    model = build_model_with_cfg(
        ResNet,
        "clipn_resnet16",
        pretrained,
        block=BasicBlock,
        layers=(1, 2, 2, 2),
        channels=(32, 96, 192, 384),
        **kwargs,
    )
    model.maxpool = nn.Identity()
    return model
