"""Image-caption pairs from every common layout, shard by shard."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import datasets
from braceexpand import braceexpand

from clipn.data.captions import CaptionRecipe
from clipn.data.pair_formats import open_csv, open_tar
from clipn.data.pair_rows import BadPair, Pair, PairColumns, Shard
from clipn.data.pair_shards import BROKEN, BrokenShard
from clipn.data.pair_tables import load_folder, open_dataset, open_parquet
from clipn.errors import DataError

__all__ = ["BadPair", "Pair", "PairFormat", "Shard", "open_pairs"]

PairFormat = Literal["auto", "webdataset", "csv", "parquet", "huggingface"]

# In this order: img2dataset lays a Parquet of metadata beside each tar.
SUFFIXES = {
    "webdataset": (".tar", ".tar.gz", ".tgz"),
    "parquet": (".parquet",),
    "csv": (".csv", ".tsv"),
}
OPENERS = {"webdataset": open_tar, "parquet": open_parquet, "csv": open_csv}


def open_pairs(
    source: str | Path | Sequence[str | Path] | datasets.Dataset,
    *,
    format: PairFormat = "auto",
    image_column: str = "image",
    caption_column: str = "caption",
    class_column: str | None = None,
    captions: CaptionRecipe | None = None,
    rows_per_shard: int = 4096,
) -> list[Shard]:
    """Find the shards of a data set of image-caption pairs, without reading the images.

    Layouts:

    - webdataset: tars of jpg, jpeg, png or webp members with their caption in the .json (under
      `caption_column`) or in a .txt, and their class in the .json or in a .cls.
    - csv: UTF-8 files with a header, separated by commas or tabs; the image column is a path,
      relative to the file's folder or absolute.
    - parquet: the image column is Hugging Face's {bytes, path}, plain bytes or a path; the
      caption column is a text or a list of texts.
    - huggingface: a `datasets.Dataset`, or a folder written by its `save_to_disk`; as Parquet.

    Args:
        source: A file, a folder of files (its subfolders are not searched), a glob, a brace
            pattern such as "cc3m/{00000..00331}.tar", several of these, or a data set in memory.
        format: The layout; "auto" goes by the file's suffix. In a folder of several layouts it
            takes the tars, else the Parquet files, else the CSV files.
        image_column: Where the image is; not used in tars.
        caption_column: Where the caption is; not used with `captions`.
        class_column: Where the number of the class is, if it is known.
        captions: Makes captions of class names, for data sets that have no captions.
        rows_per_shard: Rows of a shard; a tar is one shard whatever it holds.

    Returns:
        The shards, in the order of the source and within it by name. A shard's name is relative
        to the folder that all files lie in, so a copy of the data set has the same names. A file
        that cannot be opened becomes a shard that raises when it is read, like one that turns
        out to be cut short.

    Raises:
        DataError: Nothing is there, or nothing that can be opened; a file is named twice; a
            column does not exist; the layout is not known.
        TypeError: The source is neither paths nor a `datasets.Dataset`.
        ValueError: An argument is out of its range, or two do not go together.

    Example:
        >>> import datasets
        >>> rows = datasets.Dataset.from_dict({"image": [b"...", b""], "caption": ["a dog", "?"]})
        >>> [shard] = open_pairs(rows)
        >>> shard.name
        'dataset[0:2]'
        >>> for pair in shard.read():
        ...     print(pair)
        Pair(key='0', image=b'...', captions=('a dog',), no_captions=(), class_id=-1)
        BadPair(key='1', reason='no image')
    """
    _check_options(format, class_column, captions, rows_per_shard)
    columns = PairColumns(
        image=image_column, caption=caption_column, label=class_column, recipe=captions
    )
    if isinstance(source, datasets.Dataset):
        if format not in ("auto", "huggingface"):
            raise ValueError(f"'format' must be auto for a datasets.Dataset. Got {format!r}.")
        name = str(source.split or "dataset")
        shards = open_dataset(source, name=name, columns=columns, rows_per_shard=rows_per_shard)
    else:
        paths = _find_paths(source, format)
        shards = _open_paths(paths, format, columns, rows_per_shard)
    if not shards:
        raise DataError(f"{source} holds no rows")
    return shards


def _check_options(
    format: PairFormat,
    class_column: str | None,
    captions: CaptionRecipe | None,
    rows_per_shard: int,
) -> None:
    if format not in ("auto", "huggingface", *SUFFIXES):
        raise ValueError(
            f"'format' must be auto, huggingface, {', '.join(SUFFIXES)}. Got {format!r} instead."
        )
    if captions is not None and class_column is not None:
        raise ValueError(
            "'class_column' must be None with 'captions', whose label_column it is. "
            f"Got {class_column!r} instead."
        )
    if rows_per_shard < 1:
        raise ValueError(f"'rows_per_shard' must be 1 or more. Got {rows_per_shard} instead.")


def _open_paths(
    paths: list[Path], format: PairFormat, columns: PairColumns, rows_per_shard: int
) -> list[Shard]:
    layouts = [_layout_of(path, format) for path in paths]
    base = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    shards: list[Shard] = []
    for path, layout in zip(paths, layouts, strict=True):
        # A single folder of save_to_disk is its own base; a copy of it may be called otherwise.
        name = "dataset" if path == base else path.relative_to(base).as_posix()
        try:
            shards += _open_path(path, layout, name, columns, rows_per_shard)
        except BROKEN as error:
            shards.append(BrokenShard(name=name, reason=f"{error} ({path})"))
    broken = [shard for shard in shards if isinstance(shard, BrokenShard)]
    if broken and len(broken) == len(shards):
        raise DataError(f"nothing can be opened; {broken[0].name}: {broken[0].reason}")
    return shards


def _open_path(
    path: Path, layout: str, name: str, columns: PairColumns, rows_per_shard: int
) -> list[Shard]:
    if layout == "huggingface":
        dataset = load_folder(path)
        return open_dataset(
            dataset, name=name, columns=columns, rows_per_shard=rows_per_shard, folder=path
        )
    return OPENERS[layout](path, name=name, columns=columns, rows_per_shard=rows_per_shard)


def _layout_of(path: Path, format: PairFormat) -> str:
    if format != "auto":
        return format
    if path.is_dir():
        return "huggingface"
    for layout, suffixes in SUFFIXES.items():
        if path.name.lower().endswith(suffixes):
            return layout
    known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    raise DataError(f"{path} ends in none of {known}; name its layout with 'format'")


def _find_paths(source: str | Path | Sequence[str | Path], format: PairFormat) -> list[Path]:
    sources = [source] if isinstance(source, str | Path) else source
    if not isinstance(sources, Sequence):  # a DatasetDict would give the names of its splits
        raise TypeError(
            f"'source' must be paths or a datasets.Dataset. Got {type(source).__name__} instead."
        )
    found = [path for item in sources for path in _expand(str(item), format)]
    if not found:
        raise DataError("the source names no files")
    # Links keep their own names: the Hugging Face cache calls the files behind them by digests.
    paths = [
        path.resolve() if path.is_dir() else path.parent.resolve() / path.name for path in found
    ]
    if repeated := [path for path, count in Counter(paths).items() if count > 1]:
        raise DataError(f"{repeated[0]} is named twice; each file may come once")
    return paths


def _expand(pattern: str, format: PairFormat) -> list[Path]:
    parts = [pattern] if _exists(pattern) else list(braceexpand(pattern))
    matches = {
        part: [part] if _exists(part) else sorted(glob.glob(part, recursive=True))  # noqa: PTH207
        for part in parts
    }
    if missing := [part for part in parts if not matches[part]]:
        raise DataError(
            f"{len(missing)} of the {len(parts)} paths of {pattern!r} do not exist, "
            f"the first is {missing[0]!r}"
            if len(parts) > 1
            else f"{pattern!r} does not exist"
        )
    paths = [Path(match) for part in parts for match in matches[part]]
    return [file for path in paths for file in _files_in(path, format)]


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for a long brace pattern


def _files_in(path: Path, format: PairFormat) -> list[Path]:
    if not path.is_dir():
        return [path]
    # What save_to_disk leaves; the second one marks several splits, which are refused later.
    is_dataset = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    if is_dataset and format in ("auto", "huggingface"):
        return [path]
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    wanted = {key: value for key, value in SUFFIXES.items() if format in ("auto", key)}
    for suffixes in wanted.values():
        if found := [file for file in files if file.name.lower().endswith(suffixes)]:
            return found
    known = ", ".join(suffix for suffixes in wanted.values() for suffix in suffixes)
    raise DataError(
        f"{path} holds no files ending in {known}" if wanted else f"{path} is no data set"
    )
