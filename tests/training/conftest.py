"""What the tests of teaching share: pairs on disk, and runs that take a second."""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from clipn.data.embedding_cache import EmbeddingCache
from clipn.model import CLIPN, build_base
from clipn.training import PairsConfig, TrainConfig
from clipn.training.embeddings import open_cache

SMALL = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NAMES = ["cat", "dog", "bird", "car", "tree"]
NUM_PAIRS = 24


def draw(number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def pair_rows() -> list[dict[str, Any]]:
    """Image, caption, label and class name of each pair; the last caption repeats the first."""
    return [
        {
            "image": {"bytes": draw(number), "path": None},
            "caption": f"a picture of thing {number % (NUM_PAIRS - 1)} on a table",
            "label": number % 5,
            "name": NAMES[number % 5],
        }
        for number in range(NUM_PAIRS)
    ]


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory, pair_rows: list[dict[str, Any]]) -> Path:
    """The pairs as a Parquet file."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pd.DataFrame(pair_rows).to_parquet(path)
    return path


@pytest.fixture(scope="session")
def _small_model() -> CLIPN:
    torch.manual_seed(0)
    return CLIPN(build_base(SMALL, name="small"))


@pytest.fixture
def fresh_model(_small_model: CLIPN) -> Callable[[], CLIPN]:
    """Makes copies of one and the same small CLIP that has not learned to say no."""

    def make() -> CLIPN:
        return copy.deepcopy(_small_model, {id(_small_model.tokenizer): _small_model.tokenizer})

    return make


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, _small_model: CLIPN) -> Path:
    """The small CLIP as a model folder."""
    folder = tmp_path_factory.mktemp("base")
    _small_model.save(folder)
    return folder


@pytest.fixture
def configure(tmp_path: Path, pairs_file: Path, base_folder: Path) -> Callable[..., TrainConfig]:
    """Settings of a run of 9 steps; `pairs` holds changes to the settings of the pairs."""

    def make(*, pairs: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "model": str(base_folder),
            "out_dir": tmp_path / "run",
            "cache_dir": tmp_path / "cache",
            "epochs": 3,
            "batch_size": 8,
            "lr": 1e-3,
            "num_prompts": 4,
            "log_every": 1,
            "checkpoint_every": 2,
            "accelerator": "cpu",
            "cache_dtype": "float32",
        }
        source = {"source": str(pairs_file)}
        return TrainConfig(
            pairs=PairsConfig(**{**source, **(pairs or {})}), **{**settings, **changes}
        )

    return make


@pytest.fixture
def cache(
    configure: Callable[..., TrainConfig], fresh_model: Callable[[], CLIPN]
) -> EmbeddingCache:
    """The embedding cache of the pairs."""
    model = fresh_model()
    model.add_no_tower()
    return open_cache(configure(), model)


@pytest.fixture
def read_log(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The lines of a run's log."""

    def read(out_dir: Path = tmp_path / "run") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]

    return read


@pytest.fixture
def assert_same_weights() -> Callable[[CLIPN, CLIPN], None]:
    """That two models have the same weights, bit for bit."""

    def check(model: CLIPN, other: CLIPN) -> None:
        weights, expected = model.state_dict(), other.state_dict()
        assert weights.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(weights[name], tensor), name

    return check
