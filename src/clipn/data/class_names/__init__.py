"""Names of classes: lists of benchmarks, and ImageNet's from the libraries that keep them.

Nothing here imports PyTorch, so that suites can be listed at once.
"""

import importlib.util
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType

__all__ = ["imagenet_names", "imagenet_templates", "imagenet_wnids", "read_class_list"]

# CLIP's list calls two pairs of classes alike ("missile", "sunglasses"); these are WordNet's words
# for the one of each pair that has another.
_RENAMED = {"n04008634": "projectile", "n04355933": "sunglass"}


@cache
def read_class_list(name: str) -> dict[str, str]:
    """Read a list of classes that ships with the package.

    Args:
        name: A file beside this module without its suffix: "cifar10", "cifar100", "dtd",
            "imagenet10", "imagenet20", "imagenet100", "officehome", "pacs", "tiny_imagenet". Its
            first lines, after #, name the source.

    Returns:
        What the data call each class (a folder, an ImageNet id), mapped to its name in prompts, in
        the order of the labels.

    Raises:
        ValueError: If there is no such list.

    Example:
        >>> list(read_class_list("officehome").items())[0]
        ('Alarm_Clock', 'alarm clock')
    """
    file = resources.files(__name__) / f"{name}.txt"
    if not file.is_file():
        names = sorted(Path(f.name).stem for f in resources.files(__name__).iterdir())
        there = ", ".join(name for name in names if not name.startswith("_"))
        raise ValueError(f"There is no list of classes {name!r}; there are {there}.")
    lines = file.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[-1] for pair in pairs}


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """ImageNet-1K's 1,000 WordNet ids in label order, which is sorted; from timm."""
    text = (_folder_of("timm") / "data" / "_info" / "imagenet_synsets.txt").read_text("utf-8")
    return tuple(text.split())


@cache
def imagenet_names() -> tuple[str, ...]:
    """CLIP's cleaned names of ImageNet-1K's classes in label order, each once; from open_clip.

    The list calls both n03773504 and n04008634 "missile", and both n04355933 and n04356056
    "sunglasses"; n04008634 is "projectile" here and n04355933 "sunglass".

    Example:
        >>> imagenet_names()[:2]
        ('tench', 'goldfish')
    """
    names = dict(zip(imagenet_wnids(), _zero_shot_metadata().IMAGENET_CLASSNAMES, strict=True))
    return tuple((names | _RENAMED).values())


@cache
def imagenet_templates() -> tuple[str, ...]:
    """CLIP's 80 prompt templates for ImageNet-1K; from open_clip.

    Example:
        >>> len(imagenet_templates()), imagenet_templates()[0]
        (80, 'a bad photo of a {}.')
    """
    return tuple(fill("{}") for fill in _zero_shot_metadata().OPENAI_IMAGENET_TEMPLATES)


def _zero_shot_metadata() -> ModuleType:
    """open_clip's module of names, run by itself: the package would import PyTorch."""
    path = _folder_of("open_clip") / "zero_shot_metadata.py"
    spec = importlib.util.spec_from_file_location("_clipn_zero_shot_metadata", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _folder_of(package: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])
