"""The CLIP underneath: an open_clip model, its tokenizer, preprocessing and source."""

import copy
import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import open_clip
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

import clipn.model.compact.tower  # noqa: F401  (registers the compact model's image tower with timm)
from clipn.errors import ModelError
from clipn.model.blocks import simplify_blocks
from clipn.model.fetching import check_reachable

Tokenizer = Callable[[list[str]], Tensor]
Preprocess = Callable[[Image.Image], Tensor]


@dataclass(frozen=True, kw_only=True)
class BaseSource:
    """All that is needed to build the CLIP again.

    Attributes:
        name: open_clip's name of the architecture, or the name of a file that describes one.
        architecture: open_clip's model configuration.
        preprocess: open_clip's preprocessing configuration (size, mean, std, interpolation, ...).
        pretrained: open_clip's tag of the weights; None where they come with the model itself.
    """

    name: str
    architecture: dict[str, Any]
    preprocess: dict[str, Any]
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class BaseClip:
    """A CLIP ready to be taken apart by `CLIPN`.

    Attributes:
        clip: An open_clip `CLIP` or `CustomTextCLIP`.
        tokenizer: Texts to token ids, (batch, context_length).
        preprocess: A PIL image to a normalised tensor, (3, height, width).
        source: Where it is from.
    """

    clip: nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    source: BaseSource


def build_base(
    architecture: dict[str, Any], *, name: str = "custom", preprocess: dict[str, Any] | None = None
) -> BaseClip:
    """Build a CLIP with untrained weights from open_clip's model configuration.

    Args:
        architecture: As in open_clip's `model_configs/*.json`: embed_dim, vision_cfg, text_cfg, ...
        name: What messages and model cards call it.
        preprocess: Changes to open_clip's defaults (CLIP's mean and deviation, bicubic, shortest
            side).

    Raises:
        ModelError: If the configuration is not one of open_clip's.
    """
    config = copy.deepcopy(architecture)
    kinds = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}
    if missing := [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]:
        raise ModelError(f"The architecture {name!r} lacks {', '.join(missing)}.")
    model_class = CLIP
    if config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]:
        model_class = CustomTextCLIP
    try:
        clip = model_class(**config)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(f"open_clip cannot build the architecture {name!r}: {error}") from error
    return _assemble(clip, name=name, architecture=architecture, preprocess=preprocess or {})


def load_pretrained_base(name: str, tag: str) -> BaseClip:
    """Load pretrained weights through open_clip, which downloads them once.

    Args:
        name: open_clip's name of the architecture, for example "ViT-B-16".
        tag: One of its pretrained tags, for example "laion2b_s34b_b88k".

    Raises:
        ModelError: If name or tag are unknown, or the weights cannot be had.
    """
    check_architecture_name(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        there_are = ", ".join(tags) or "none"
        raise ModelError(f"{name} has no pretrained weights {tag!r}; there are {there_are}.")
    architecture = open_clip.get_model_config(name) or {}
    config = open_clip.get_pretrained_cfg(name, tag) or {}
    # Weights such as OpenAI's were trained with QuickGELU, which open_clip's architecture of the
    # same name does not have: it warns and computes other embeddings.
    if config.get("quick_gelu"):
        architecture["quick_gelu"] = True
    is_quick = architecture.get("quick_gelu", False)
    try:
        if where := config.get("hf_hub"):  # "owner/name/", or with a file's name
            check_reachable(where.rpartition("/")[0])
        clip: Any = open_clip.create_model(name, pretrained=tag, force_quick_gelu=is_quick)
    except (ModelError, RuntimeError, OSError) as error:
        raise ModelError(f"The weights {name}/{tag} could not be loaded: {error}") from error
    return _assemble(
        clip,
        name=name,
        architecture=architecture,
        preprocess=clip.visual.preprocess_cfg,
        pretrained=tag,
    )


def load_open_clip_folder(folder: Path, *, name: str) -> BaseClip:
    """Load a CLIP from a folder in open_clip's own layout.

    Args:
        folder: With `open_clip_config.json`, weights, and the tokenizer's files if it has any.
        name: What messages and model cards call it.

    Raises:
        ModelError: If there is none, or it cannot be read.
    """
    address = f"local-dir:{folder}"
    try:
        clip: Any = open_clip.create_model(address, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(address)
        config_path = folder / "open_clip_config.json"
        architecture = json.loads(config_path.read_text(encoding="utf-8"))["model_cfg"]
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name} could not be loaded: {error}") from error
    return _assemble(
        clip,
        name=name,
        architecture=architecture,
        preprocess=clip.visual.preprocess_cfg,
        tokenizer=tokenizer,
    )


def check_architecture_name(name: str) -> None:
    """Raise ModelError, with the names that come close, if open_clip has no such architecture."""
    names = open_clip.list_models()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3)
        hint = (
            f"; did you mean {' or '.join(close)}?" if close else "; `clipn list` shows them all."
        )
        raise ModelError(f"open_clip has no architecture {name!r}{hint}")


def _assemble(
    clip: Any,
    *,
    name: str,
    architecture: dict[str, Any],
    preprocess: dict[str, Any],
    pretrained: str | None = None,
    tokenizer: Tokenizer | None = None,
) -> BaseClip:
    """Add tokenizer and preprocessing to an open_clip model."""
    simplify_blocks(clip)
    config = PreprocessCfg(**{"size": clip.visual.image_size, **preprocess})
    source = BaseSource(
        name=name,
        architecture=architecture,
        preprocess={key: _plain(value) for key, value in vars(config).items()},
        pretrained=pretrained,
    )
    return BaseClip(
        clip=clip,
        tokenizer=tokenizer or _build_tokenizer(architecture["text_cfg"]),
        preprocess=cast(Preprocess, image_transform_v2(config, is_train=False)),
        source=source,
    )


def _build_tokenizer(text_config: dict[str, Any]) -> Tokenizer:
    """CLIP's own tokenizer, or the one that the architecture names on the hub."""
    context_length = text_config.get("context_length", 77)
    options = text_config.get("tokenizer_kwargs") or {}
    if hub_name := text_config.get("hf_tokenizer_name"):
        mode = text_config.get("tokenizer_mode")
        try:
            if not Path(hub_name).exists():
                check_reachable(hub_name)
            return open_clip.tokenizer.HFTokenizer(
                hub_name, context_length=context_length, tokenizer_mode=mode, **options
            )
        except (ModelError, OSError) as error:
            raise ModelError(f"The tokenizer {hub_name!r} could not be loaded: {error}") from error
    return open_clip.SimpleTokenizer(context_length=context_length, **options)


def _plain(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    return list(value) if isinstance(value, tuple) else value
