"""CLIPN: a frozen CLIP, and a second text tower that learns to say "no"."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from clipn.class_names import check_class_names
from clipn.errors import ModelError
from clipn.model.base import BaseClip
from clipn.model.card import MeasuredResult
from clipn.model.class_bank import ClassBank
from clipn.model.no_tower import NoStart, NoTower
from clipn.model.patches import encode_patches
from clipn.model.random_view import STRENGTHS, RandomView, ViewStrength
from clipn.model.text_tower import TextTower
from clipn.templates import (
    NEGATED_TEMPLATES,
    PAIRED_TEMPLATES,
    TEMPLATES,
    check_templates,
    fill,
)

NUM_PROMPTS = 16
Variant = Literal["learnable", "handcrafted"]
Part = Literal["image", "text", "frozen", "all"]

FROZEN_PREFIXES = ("visual.", "text.", "logit_scale")
FINGERPRINT_PARTS: dict[Part, tuple[str, ...]] = {
    "image": ("visual.",),
    "text": ("text.", "no_tower.", "logit_scale"),
    "frozen": ("visual.", "text."),
    "all": (*FROZEN_PREFIXES, "no_tower."),
}

HOW_TO_GET_A_NO = (
    'This CLIP has not learned to say "no": teach it (clipn train), import a checkpoint '
    '(clipn import-checkpoint), or load one that has ("compact").'
)


class Logits(NamedTuple):
    """Both (batch, classes), times the temperature; `no` is None for a plain CLIP."""

    yes: Float[Tensor, "batch classes"]
    no: Float[Tensor, "batch classes"] | None


class CLIPN(nn.Module):
    """An open_clip CLIP that can be taught "no".

    The image tower, the yes tower and the temperature are frozen. `add_no_tower` gives it a no
    tower, a trainable copy of the yes tower, in one of two variants: "learnable" with a pool of
    prompts that are added to the token embeddings at every position, or "handcrafted" without a
    pool, whose "no" is worded by negated templates. Until then it is a plain CLIP.

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023.

    Args:
        base: A CLIP with its tokenizer and preprocessing (see `clipn.load_model`).

    Raises:
        ModelError: If the text tower of the CLIP cannot get a "no".
    """

    def __init__(self, base: BaseClip) -> None:
        super().__init__()
        clip: Any = base.clip  # open_clip's classes share these names, but no type
        self.visual: nn.Module = clip.visual
        self.text = TextTower(base.clip)
        self.logit_scale: nn.Parameter = clip.logit_scale
        self.requires_grad_(False)
        self.no_tower: NoTower | None = None
        self.source = base.source
        self.tokenizer = base.tokenizer
        self.preprocess = base.preprocess
        self.templates: tuple[str, ...] = TEMPLATES
        self.negated_templates: tuple[str, ...] = ()
        self.known_tokens: Tensor | None = None
        self.reference: str | None = None
        self.eval()

    # What it is

    @property
    def has_no(self) -> bool:
        """Whether there is a no tower."""
        return self.no_tower is not None

    @property
    def variant(self) -> Variant | None:
        """How "no" is said: by learned prompts or by negated templates; None for a plain CLIP."""
        if self.no_tower is None:
            return None
        return "handcrafted" if self.negated_templates else "learnable"

    @property
    def tau(self) -> float:
        """The temperature that cosines are multiplied by, exp(logit_scale)."""
        return self.logit_scale.exp().item()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    def add_no_tower(
        self,
        *,
        variant: Variant = "learnable",
        num_prompts: int = NUM_PROMPTS,
        start: NoStart = "same",
    ) -> None:
        """Give this CLIP an untrained "no": a copy of the yes tower, and prompts that are zero.

        Args:
            variant: "learnable" (a pool of prompts) or "handcrafted" (negated templates, no pool).
            num_prompts: Size of the pool; 16 in the paper. Without any (0) the no tower alone
                learns to turn a caption into its "no".
            start: "same" as the yes tower's embeddings, as in the paper, or their "opposite".

        Raises:
            ModelError: If there is a no tower already, or no opposite (see `NoTower`).
            ValueError: If the variant or the start is unknown, or `num_prompts` negative.
        """
        if self.no_tower is not None:
            raise ModelError("This model has a no tower already.")
        if variant not in ("learnable", "handcrafted"):
            raise ValueError(f"variant must be 'learnable' or 'handcrafted'; got {variant!r}.")
        if num_prompts < 0:
            raise ValueError(f"num_prompts must not be negative; got {num_prompts}.")
        num_prompts = 0 if variant == "handcrafted" else num_prompts
        self.no_tower = NoTower(self.text, num_prompts=num_prompts, start=start)
        if variant == "handcrafted":
            self.templates, self.negated_templates = PAIRED_TEMPLATES, NEGATED_TEMPLATES
        self.reference = None  # it is no longer what that name loads

    def train(self, mode: bool = True) -> "CLIPN":
        """Switch the no tower to training or evaluation; what is frozen stays in evaluation."""
        super().train(False)
        if self.no_tower is not None:
            self.no_tower.train(mode)
        self.training = mode
        return self

    def augmentation(self, strength: ViewStrength = "weak") -> RandomView:
        """A random view of an image, drawn from a generator: `view(image, generator)`.

        Args:
            strength: "weak" views are the paper's, crops of 90 % of the area and more; "strong"
                ones go down to 25 %, are mirrored, and change in light and colour.
        """
        size = self.source.preprocess["size"]
        return RandomView(preprocess=self.preprocess, size=size, **STRENGTHS[strength])

    # Embeddings

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "batch length"]:
        """Token ids of texts, cut to the longest of them where that is exact; (batch, length).

        Raises:
            TypeError: If a single string is given.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts must be a sequence of strings; got the string {texts!r}.")
        return self.text.cut(self.tokenizer(list(texts))).to(self.device)

    def encode_image(
        self, images: Sequence[Image.Image] | Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """Embed images.

        Args:
            images: PIL images, or a tensor that `preprocess` has made of them.

        Returns:
            L2-normalised embeddings.
        """
        if not isinstance(images, Tensor):
            images = torch.stack([self.preprocess(image) for image in images])
        return F.normalize(self.visual(images.to(self.device)).float(), dim=-1)

    def encode_patches(
        self, pixels: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Embed each part of images, as `clipn.model.patches.encode_patches` says.

        Args:
            pixels: What `preprocess` has made of images.

        Returns:
            L2-normalised embeddings of the positions, row by row.

        Raises:
            ModelError: If the image tower has none.
        """
        return encode_patches(self.visual, pixels.to(self.device))

    def encode_text(
        self, texts: Sequence[str] | Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch dim"]:
        """Embed texts, given as strings or token ids, with the yes tower; L2-normalised."""
        tokens = texts.to(self.device) if isinstance(texts, Tensor) else self.tokenize(texts)
        return F.normalize(self.text(tokens).float(), dim=-1)

    def encode_text_no(
        self,
        texts: Sequence[str] | Int[Tensor, "batch length"],
        *,
        prompt_ids: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Embed texts, given as strings or token ids, with the no tower.

        Args:
            texts: For the hand-crafted variant, texts worded with a negated template.
            prompt_ids: Which prompt each text gets, from 0 to num_prompts, the last being the mean
                of all; without it every text gets the mean, as in inference. The hand-crafted
                variant has no prompts and takes none.

        Returns:
            L2-normalised embeddings.

        Raises:
            ModelError: If there is no no tower.
            ValueError: If prompts are chosen where there are none.
        """
        if self.no_tower is None:
            raise ModelError(HOW_TO_GET_A_NO)
        tokens = texts.to(self.device) if isinstance(texts, Tensor) else self.tokenize(texts)
        return self.no_tower(tokens, prompt_ids)

    def unseen_words(self, texts: Sequence[str]) -> list[str]:
        """Words with a token that no caption of the model's training had; it cannot know them.

        Only models that keep a list of their tokens can tell; any other has seen every word.

        Args:
            texts: Class names, for example.

        Returns:
            The words in order, each once.
        """
        if self.known_tokens is None:
            return []
        words = list(dict.fromkeys(word for text in texts for word in text.split()))
        tokens = self.tokenizer(words)
        is_known = torch.isin(tokens, self.known_tokens.cpu()) | (tokens == 0)
        return [word for word, known in zip(words, is_known.all(dim=1), strict=True) if not known]

    # Classes

    @torch.no_grad()  # not inference_mode: scores that need gradients go through a bank
    def class_bank(
        self,
        names: Sequence[str],
        *,
        templates: Sequence[str] | None = None,
        negated_templates: Sequence[str] | None = None,
        batch_size: int = 512,
    ) -> ClassBank:
        """Embed class names: for every class each template, normalised, averaged, normalised.

        Args:
            names: Class names, none empty and none twice.
            templates: Sentences with one {}; the model's own by default.
            negated_templates: What the no tower reads in the hand-crafted variant; the model's own
                by default. The learnable variant reads `templates` with both towers and takes none.
            batch_size: Texts embedded at once.

        Returns:
            Both banks, (classes, dim); `no` is None for a plain CLIP.

        Raises:
            ValueError: If names or templates are wrong.
        """
        checked_names = check_class_names(names)
        yes_templates = check_templates(self.templates if templates is None else templates)
        no_templates = yes_templates
        if self.variant == "handcrafted":
            no_templates = (
                self.negated_templates if negated_templates is None else negated_templates
            )
            no_templates = check_templates(no_templates, what="negated_templates")
        elif negated_templates is not None:
            raise ValueError(
                "negated_templates are for the hand-crafted variant only; "
                f"this model's variant is {self.variant}."
            )
        no = None
        if self.has_no:
            no = self._average(checked_names, no_templates, self.encode_text_no, batch_size)
        return ClassBank(
            names=checked_names,
            templates=yes_templates,
            yes=self._average(checked_names, yes_templates, self.encode_text, batch_size),
            no=no,
        )

    def _average(
        self,
        names: tuple[str, ...],
        templates: tuple[str, ...],
        encode: Callable[..., Tensor],
        batch_size: int,
    ) -> Float[Tensor, "classes dim"]:
        """Embed every name in every template and average over the templates."""
        texts = [fill(template, name) for name in names for template in templates]
        # Texts of about one length share a batch, so that little is spent on padding.
        tokens = self.tokenizer(texts).to(self.device)
        order = (tokens != 0).sum(dim=1).argsort()
        parts = [encode(tokens[rows]) for rows in order.split(batch_size)]
        embeddings = torch.cat(parts)[order.argsort()]
        # (classes * templates, dim) -> (classes, templates, dim)
        return F.normalize(
            embeddings.unflatten(0, (len(names), len(templates))).mean(dim=1), dim=-1
        )

    def logits(
        self, image: Float[Tensor, "batch dim"], bank: ClassBank, *, tau: float | None = None
    ) -> Logits:
        """Compare images with classes: l = tau f.g and n = tau f.g^no.

        Args:
            image: L2-normalised image embeddings.
            bank: From `class_bank`.
            tau: Temperature; the model's own by default.

        Returns:
            Both logits. A SigLIP's logit_bias is left out: it moves all logits alike, so no softmax
            and no "yes" against "no" depends on it.
        """
        scale = self.tau if tau is None else tau
        no = None if bank.no is None else scale * (image @ bank.no.T)
        return Logits(scale * (image @ bank.yes.T), no)

    # Identity

    def fingerprint(self, part: Part = "all") -> str:
        """A short hash of the weights and settings that a result depends on, 16 hexadecimal digits.

        Args:
            part: "image", the image tower with its preprocessing; "text", both text towers;
                "frozen", image and yes tower without the temperature; or "all".
        """
        prefixes = FINGERPRINT_PARTS[part]
        # The same weights with another activation or number of heads are another model.
        other_tower = {"image": "text_cfg", "text": "vision_cfg"}.get(part)
        settings = {k: v for k, v in self.source.architecture.items() if k != other_tower}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        if "visual." in prefixes:
            digest.update(json.dumps(self.source.preprocess, sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            if name.startswith(prefixes):
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(
                    tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
                )
        return digest.hexdigest()[:16]

    def save(self, folder: str | Path) -> None:
        """Write this model as a folder that `clipn.load_model` reads."""
        # Imported here because folders build models.
        from clipn.model.folder import save_model

        save_model(self, Path(folder))

    def push_to_hub(
        self,
        repository: str,
        *,
        license: str,
        data_terms: str,
        results: Sequence[MeasuredResult] = (),
        private: bool = False,
        branch: str | None = None,
    ) -> str:
        """Publish this model on the Hugging Face hub, with a card that says what it is.

        Arguments, what comes back and errors are those of `clipn.model.hub.push_model`.
        """
        # Imported here because the hub loads models.
        from clipn.model.hub import push_model

        return push_model(
            self,
            repository,
            license=license,
            data_terms=data_terms,
            results=results,
            private=private,
            branch=branch,
        )
