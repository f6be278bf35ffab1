"""What an image-caption pair is, and how one row of a data set becomes one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from clipn.data.captions import CaptionRecipe

__all__ = ["BadPair", "Pair", "PairColumns", "Shard", "make_pair"]

# CLIP sees 77 tokens; a text of this length is rather the rest of a CSV file behind a stray quote.
MAX_CAPTION_CHARACTERS = 20_000


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and the captions that describe it.

    Raises:
        ValueError: There is no caption, or there are "no" captions but not one for each caption.

    Example:
        >>> Pair(key="000012", image=b"...", captions=("a dog on a sofa",)).class_id
        -1
    """

    key: str
    """Unique within its shard: "000012" of a tar, the number of the row elsewhere. A name, never
    a path to follow: in a tar of somebody else it may read "../../x"."""

    image: bytes | Path
    """The encoded image (JPEG, PNG, WebP ...) or where it lies; nobody has decoded it yet."""

    captions: tuple[str, ...]
    """One or more alternative captions of this image."""

    no_captions: tuple[str, ...] = ()
    """Hand-crafted "no" captions, parallel to the captions, or empty."""

    class_id: int = -1
    """Pairs of one class are never pushed apart; -1: of no class."""

    def __post_init__(self) -> None:
        if not self.captions or len(self.no_captions) not in (0, len(self.captions)):
            raise ValueError(
                "'captions' must be one or more, 'no_captions' as many or none. "
                f"Got {len(self.captions)} and {len(self.no_captions)} instead."
            )


@dataclass(frozen=True, kw_only=True)
class BadPair:
    """A row that cannot be used."""

    key: str
    """The key that the pair would have had."""

    reason: str
    """What is wrong with it, for a log."""


@runtime_checkable
class Shard(Protocol):
    """A part of a data set that is read in one go, and again from its start after a break."""

    @property
    def name(self) -> str:
        """Unique in its data set and the same on every machine: "train.parquet[4096:8192]"."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; the same for a copy, another one for other data or other columns.

        Made of the name, the size, the first and last 64 KiB (in memory: the first and last row)
        and the columns; empty for a file that cannot be opened. Images that lie outside of the
        file, as those of a CSV, are not part of it.
        """
        ...

    def read(self) -> Iterator[Pair | BadPair]:
        """Read the pairs, in the same order every time.

        Yields:
            Pairs, and in their place the rows that cannot be used.

        Raises:
            DataError: The shard is cut short, corrupt or gone; what came before stays usable.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """Which columns (in a tar: which keys of the .json members) hold what."""

    image: str
    """Where the image is."""

    caption: str
    """Where the caption is; not used with a recipe."""

    label: str | None = None
    """Where the number of the class is, if anywhere; a recipe brings its own."""

    recipe: CaptionRecipe | None = None
    """Makes captions of class names."""

    class_names: dict[int, str] = field(default_factory=dict)
    """What the numbers stand for, if the recipe's name column holds numbers."""

    @property
    def class_id(self) -> str | None:
        """The column with the number of the class."""
        return self.recipe.label_column if self.recipe else self.label

    @property
    def needed(self) -> tuple[str, ...]:
        """Every column that a table must have, each once."""
        texts = (self.recipe.name_column, self.recipe.synonyms_column) if self.recipe else ()
        wanted = (self.image, *(texts or (self.caption,)), self.class_id)
        return tuple(dict.fromkeys(column for column in wanted if column is not None))


def make_pair(
    key: str,
    image: object,
    row: Mapping[str, object],
    *,
    columns: PairColumns,
    folder: Path | None = None,
) -> Pair | BadPair:
    """Make a pair of one row.

    Args:
        key: The key of the pair.
        image: The encoded bytes, a path, or the {"bytes", "path"} of Hugging Face data sets.
        row: The other values by column.
        columns: Which column holds what.
        folder: Where relative image paths start; None refuses every path.

    Returns:
        The pair, or why the row makes none.
    """
    try:
        captions, no_captions = _captions_in(row, columns)
        return Pair(
            key=key,
            image=_find_image(image, folder),
            captions=captions,
            no_captions=no_captions,
            class_id=_class_in(row, columns.class_id),
        )
    except ValueError as error:
        return BadPair(key=key, reason=str(error))


def _captions_in(
    row: Mapping[str, object], columns: PairColumns
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    recipe = columns.recipe
    if recipe is None:
        return _texts(row.get(columns.caption), "caption"), ()
    name = row.get(recipe.name_column)
    if isinstance(name, int) and columns.class_names:
        # Hugging Face writes -1 where the class is not known.
        name = columns.class_names.get(name)
    names = _texts(name, "class name")
    if recipe.synonyms_column and row.get(recipe.synonyms_column):
        names += _texts(row[recipe.synonyms_column], "synonym")
    return recipe.captions_of(names)


def _texts(value: object, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    texts = [_text(item, what) for item in values if item is not None]
    if not texts:
        raise ValueError(f"no {what}")
    if not any(texts):
        raise ValueError(f"the {what} is empty")
    return tuple(dict.fromkeys(text for text in texts if text))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the {what} {value!r:.80} is not a text")
    if len(value) > MAX_CAPTION_CHARACTERS:
        raise ValueError(f"the {what} has {len(value)} characters: is a quote left open?")
    try:
        # Lone surrogates stand for bytes that are no UTF-8, and tokenizers fail on them.
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the {what} {value!r:.80} is not UTF-8") from None
    return value.strip()


def _class_in(row: Mapping[str, object], column: str | None) -> int:
    if column is None:
        return -1
    if column not in row:
        raise ValueError(f"no class in {column!r}")
    value = row[column]
    if value is None or value == "":
        return -1
    try:
        # Tables with gaps hold "3.0" for 3.
        number = int(str(value).strip().removesuffix(".0"))
    except ValueError:
        raise ValueError(f"the class {value!r:.80} is not a whole number") from None
    if number >= 2**63:
        raise ValueError(f"the class {number} does not fit into 64 bits")
    return max(number, -1)


def _find_image(value: object, folder: Path | None) -> bytes | Path:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value and folder is not None:
        return _existing_file(folder / value)
    if value is None or value in ("", b""):
        raise ValueError("no image")
    raise ValueError(f"the image is a {type(value).__name__}, neither encoded bytes nor a path")


def _existing_file(path: Path) -> Path:
    try:
        is_file = path.is_file()
    except OSError:  # a name too long for the file system, a folder without permission
        is_file = False
    if not is_file:
        raise ValueError(f"no image file {str(path)!r:.300}")
    return path
