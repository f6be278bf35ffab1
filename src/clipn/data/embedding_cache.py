"""Embeddings of the frozen towers on disk, memory-mapped: what teaching reads instead of images.

A finished cache is a folder with `manifest.json` and one `.npy` file an array:

    image          (rows, views, dim)     image embeddings
    first_caption  (rows,)                where a row's captions start among all captions
    num_captions   (rows,)                how many they are
    class_id       (rows,)                class of the row, -1 where it has none
    yes            (captions, dim)        caption embeddings
    tokens         (captions, length)     token ids of the captions, padded with 0
    no_tokens      (captions, length)     of their hand-crafted "no", where there are any
    caption_key    (captions,)            equal for equal captions
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from clipn.data.array_file import open_array
from clipn.errors import DataError
from clipn.files import read_json

MANIFEST = "manifest.json"
ARRAYS = (
    "image",
    "first_caption",
    "num_captions",
    "class_id",
    "yes",
    "tokens",
    "no_tokens",
    "caption_key",
)
NUM_AXES = {"image": 3, "yes": 2, "tokens": 2, "no_tokens": 2}  # of the others 1


@dataclass(frozen=True, kw_only=True)
class PairChoice:
    """Which pairs to read, and of each which view and which caption; all (batch,)."""

    rows: Int[np.ndarray, " batch"]
    views: Int[np.ndarray, " batch"]
    captions: Int[np.ndarray, " batch"]

    def part(self, which: slice) -> "PairChoice":
        """The choice for some of the batch."""
        return PairChoice(
            rows=self.rows[which], views=self.views[which], captions=self.captions[which]
        )


@dataclass(frozen=True, kw_only=True)
class EmbeddedPairs:
    """A batch of pairs as teaching needs it.

    Attributes:
        image: Image embeddings, L2-normalised.
        yes: Caption embeddings.
        tokens: Token ids of what the no tower reads.
        caption_keys: Equal for equal captions.
        class_ids: -1 where a pair has no class.
    """

    image: Float[Tensor, "batch dim"]
    yes: Float[Tensor, "batch dim"]
    tokens: Int[Tensor, "batch length"]
    caption_keys: Int[Tensor, " batch"]
    class_ids: Int[Tensor, " batch"]


class EmbeddingCache:
    """A finished cache, opened for reading.

    Args:
        folder: Where `build_cache` wrote it.

    Raises:
        DataError: If there is none, it is not finished, or its files do not fit together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder / MANIFEST)
        for key, kind in (
            ("num_rows", int),
            ("num_captions", int),
            ("arrays", list),
            ("shards", list),
            ("crc32", dict),
        ):
            value = self.manifest.get(key, {} if key == "crc32" else None)
            if not isinstance(value, kind):
                raise DataError(f"{folder / MANIFEST} is damaged: its {key} is {value!r}.")
        _check_shards(folder / MANIFEST, self.manifest)
        checksums = self.manifest.get("crc32", {})
        self._arrays = {
            name: open_array(folder / f"{name}.npy", checksum=checksums.get(name))
            for name in ARRAYS
            if name != "no_tokens" or name in self.manifest["arrays"]
        }
        for name, array in self._arrays.items():
            is_of_rows = name in ("image", "first_caption", "num_captions", "class_id")
            expected = self.manifest["num_rows" if is_of_rows else "num_captions"]
            if array.ndim != NUM_AXES.get(name, 1) or len(array) != expected:
                raise DataError(
                    f"{folder / name}.npy is of shape {array.shape}; "
                    f"the manifest says {expected} rows."
                )

    def __len__(self) -> int:
        """Number of pairs."""
        return self.manifest["num_rows"]

    @property
    def has_no_captions(self) -> bool:
        """Whether it was built with hand-crafted "no" captions."""
        return "no_tokens" in self._arrays

    def class_ids(self, rows: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
        """The classes of pairs, -1 where a pair has none."""
        return self._arrays["class_id"][rows]

    def locate(self, row: int) -> tuple[str, int]:
        """Where a pair comes from.

        Args:
            row: The pair.

        Returns:
            The name of its shard, and its place among the pairs of that shard that could be used,
            from 0.
        """
        names, sizes = zip(*self.manifest["shards"], strict=True)
        ends = np.cumsum(sizes)
        shard = int(np.searchsorted(ends, row, side="right"))
        return names[shard], row - int(ends[shard] - sizes[shard])

    def choose(self, rows: Int[np.ndarray, " batch"], generator: np.random.Generator) -> PairChoice:
        """Draw one of the views and one of the captions of each pair.

        Args:
            rows: Which pairs, in any order.
            generator: Of the draws.
        """
        arrays = self._arrays
        return PairChoice(
            rows=rows,
            views=generator.integers(arrays["image"].shape[1], size=len(rows)),
            captions=arrays["first_caption"][rows]
            + generator.integers(arrays["num_captions"][rows]),
        )

    def read(self, choice: PairChoice) -> EmbeddedPairs:
        """Read pairs, in float32 and in the order of the choice."""
        arrays, rows, captions = self._arrays, choice.rows, choice.captions
        tokens = arrays["no_tokens" if self.has_no_captions else "tokens"]
        return EmbeddedPairs(
            image=_restore(arrays["image"][rows, choice.views]),
            yes=_restore(arrays["yes"][captions]),
            tokens=torch.from_numpy(tokens[captions].astype(np.int64)),
            caption_keys=torch.from_numpy(arrays["caption_key"][captions]),
            class_ids=torch.from_numpy(arrays["class_id"][rows]),
        )


def _restore(stored: np.ndarray) -> Tensor:
    """Embeddings in float32, of length 1 again after their rounding.

    Without that a caption and its "no", equal at the start, may have a cosine above 1, whose
    distance is no number.
    """
    return F.normalize(torch.from_numpy(stored.astype(np.float32)), dim=-1)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        manifest = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a manifest: {error}") from error
    if not isinstance(manifest, dict):
        raise DataError(f"{path} is not a manifest: it holds a {type(manifest).__name__}.")
    return manifest


def check_identity(folder: Path, manifest: dict[str, Any], identity: dict[str, Any]) -> None:
    """Compare a cache with what it should be made from.

    Raises:
        DataError: If they differ, naming what differs.
    """
    differences = [
        f"{key} {manifest.get(key)!r} instead of {value!r}"
        for key, value in identity.items()
        if manifest.get(key) != value
    ]
    if differences:
        raise DataError(
            f"The cache {folder} was built from something else: {'; '.join(differences)}. "
            "Delete it or name another folder."
        )


def _check_shards(path: Path, manifest: dict[str, Any]) -> None:
    """Refuse a list of shards that does not make up the rows."""
    try:
        total = sum(num_rows for name, num_rows in manifest["shards"] if isinstance(name, str))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its shards are {error!r}.") from error
    if total != manifest["num_rows"]:
        raise DataError(
            f"{path} is damaged: its shards have {total} rows, not {manifest['num_rows']}."
        )
