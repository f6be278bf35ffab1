"""What the tests of the embedding cache share: real pairs, and an encoder that counts."""

import csv
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from clipn.data.cache_build import build_cache
from clipn.data.cache_shards import BuildSettings
from clipn.data.embedding_cache import EmbeddingCache
from clipn.data.pairs import Shard, open_pairs
from clipn.model import CLIPN


class CountingEncoder:
    """A model's frozen towers; counts what they embed, and can break after some images."""

    def __init__(self, model: CLIPN, *, break_after: int | None = None) -> None:
        self.model = model
        self.break_after = break_after
        self.num_images = self.num_texts = 0

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self.model.tokenize(texts)

    def encode_text(self, texts: Tensor) -> Tensor:
        self.num_texts += len(texts)
        return self.model.encode_text(texts)

    def encode_image(self, images: Tensor) -> Tensor:
        if self.break_after is not None and self.num_images >= self.break_after:
            raise InterruptedError("the power went off")
        self.num_images += len(images)
        return self.model.encode_image(images)

    def fingerprint(self, part: str) -> str:
        return self.model.fingerprint(part)


@pytest.fixture
def counting() -> type[CountingEncoder]:
    return CountingEncoder


@pytest.fixture(scope="session")
def jpeg() -> Callable[[int], bytes]:
    """A picture of noise, another one for each number."""

    def draw(number: int) -> bytes:
        values = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG")
        return buffer.getvalue()

    return draw


@pytest.fixture
def open_csv_pairs(tmp_path: Path, jpeg: Callable[[int], bytes]) -> Callable[..., list[Shard]]:
    """Write captions (and classes) with real JPEGs as a CSV, and open it in shards of 3 rows."""

    def write(
        captions: Sequence[str],
        *,
        labels: Sequence[object] | None = None,
        images: dict[int, bytes] | None = None,
        rows_per_shard: int = 3,
        **options: Any,
    ) -> list[Shard]:
        (tmp_path / "images").mkdir(exist_ok=True)
        rows = [["image", "caption", "label"]]
        for number, caption in enumerate(captions):
            name = f"images/{number}.jpg"
            (tmp_path / name).write_bytes((images or {}).get(number, jpeg(number)))
            rows.append([name, caption, str(labels[number]) if labels else ""])
        with (tmp_path / "pairs.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return open_pairs(tmp_path / "pairs.csv", rows_per_shard=rows_per_shard, **options)

    return write


@pytest.fixture
def write_tar() -> Callable[[Path, dict[str, bytes]], Path]:
    """Write members into a tar."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w") as archive:
            for name, content in members.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def build(tmp_path: Path, plain_model: CLIPN) -> Callable[..., EmbeddingCache]:
    """Build a cache in tmp_path/FOLDER with the tiny model, in float32 and without threads."""

    def run(
        shards: Sequence[Shard],
        *,
        folder: str = "cache",
        encoder: CountingEncoder | None = None,
        **settings: Any,
    ) -> EmbeddingCache:
        chosen = {"transform": plain_model.preprocess, "dtype": "float32", "num_workers": 1}
        chosen["augment"] = plain_model.augmentation()
        return build_cache(
            shards,
            encoder or CountingEncoder(plain_model),
            tmp_path / folder,
            BuildSettings(**{**chosen, **settings}),
        )

    return run


@pytest.fixture
def arrays_of(tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """All arrays of a finished cache, by name."""

    def read(folder: str = "cache") -> dict[str, np.ndarray]:
        files = sorted((tmp_path / folder).glob("*.npy"))
        assert files
        return {file.stem: np.load(file) for file in files}

    return read
