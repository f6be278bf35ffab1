"""Teaching as published, in its plain form: what the other scripts compare with.

Every step pushes the images through the frozen image tower and the captions through the frozen yes
tower, pads every caption to the full context length, takes the losses from a softmax over two N x N
matrices, and updates with PyTorch's AdamW as it is by default. The towers are open_clip's own, and
nothing of clipn is in the step but the place where prompts are added to open_clip's text tower.
"""

from collections.abc import Iterator

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipn.losses import TSO_EPSILON
from clipn.model import CLIPN
from clipn.model.text_tower import TextTower


class PublishedTeaching(nn.Module):
    """A CLIP and a no tower as open_clip has them, with the weights of a model of ours.

    Args:
        model: Gives its weights; with a no tower and prompts.
        architecture: open_clip's name of its architecture.
    """

    def __init__(self, model: CLIPN, architecture: str) -> None:
        super().__init__()
        assert model.no_tower is not None
        assert model.no_tower.prompts is not None
        config = open_clip.get_model_config(architecture) or {}
        self.clip = open_clip.model.CLIP(**config).to(model.device)
        tower = TextTower(self.clip)
        tower.load_state_dict(model.text.state_dict())
        self.clip.visual.load_state_dict(model.visual.state_dict())
        self.clip.requires_grad_(False).eval()
        self.no_tower = tower.trainable_copy()
        self.no_tower.load_state_dict(model.no_tower.text.state_dict())
        self.prompts = nn.Parameter(model.no_tower.prompts.detach().clone())
        self.tau = model.tau

    def losses(self, images: Tensor, tokens: Tensor, prompt_ids: Tensor) -> Tensor:
        """The total loss of a batch.

        Args:
            images: (batch, 3, height, width).
            tokens: At full length, (batch, 77).
            prompt_ids: Drawn for each caption; the number of prompts stands for their mean.
        """
        with torch.no_grad():
            image = F.normalize(self.clip.encode_image(images).float(), dim=-1)
            yes = F.normalize(self.clip.encode_text(tokens).float(), dim=-1)
        choices = torch.cat([self.prompts, self.prompts.mean(dim=0, keepdim=True)])
        no = F.normalize(self.no_tower.embed_padded(tokens, choices, prompt_ids).float(), dim=-1)
        return self._compare(image, yes, no)

    def _compare(self, image: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """The losses by way of a softmax over yes and no."""
        pairs = torch.stack([self.tau * image @ yes.T, self.tau * image @ no.T], dim=-1)
        p_no = pairs.softmax(dim=-1)[..., 1]
        diagonal = torch.eye(len(image), dtype=torch.bool, device=image.device)
        own, others = p_no[diagonal], p_no[~diagonal]
        tso = (2 - (2 - 2 * (yes * no).sum(dim=-1) + TSO_EPSILON).sqrt()).mean()
        return 0.5 * (-(1 - own).log().mean() - others.log().mean() + tso)

    def trained(self) -> Iterator[nn.Parameter]:
        """What learns."""
        yield from self.no_tower.parameters()
        yield self.prompts

    def build_optimizer(self, *, lr: float, eps: float = 1e-6) -> torch.optim.AdamW:
        """AdamW with the published settings, in PyTorch's default form."""
        parameters = list(self.trained())
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.2},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=eps)
