"""What the tests of batch runs share: a small detector, and the same images in every form."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipn import Detector
from clipn.batch import BatchOptions
from clipn.model import CLIPN

CLASSES = ("tabby cat", "espresso", "school bus")
BAD = {"a/broken.jpg": b"no image", "b/empty.png": b""}


@pytest.fixture
def detector(learnable_model: CLIPN) -> Detector:
    return Detector(learnable_model, CLASSES, batch_size=4)


@pytest.fixture(scope="session")
def made_from(_tiny_models: dict[str, CLIPN]) -> Detector:
    """What exported files are made from."""
    return Detector(_tiny_models["learnable"], CLASSES)


@pytest.fixture(scope="session")
def exported_file(made_from: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `clipn export`, with its classes."""
    pytest.importorskip("onnxruntime", reason='ONNX Runtime is absent: pip install "clipn[export]"')
    from clipn.export.writing import export_detector

    path = tmp_path_factory.mktemp("exported") / "detector.onnx"
    export_detector(made_from, path)
    return path


@pytest.fixture
def options() -> BatchOptions:
    """Several batches a partition, several partitions a run."""
    return BatchOptions(rows_per_partition=6, batch_size=4, top_k=2)


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    """Encoded images by name, sorted; two of them are none."""
    found = dict(BAD)
    for number in range(18):
        values = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG")
        found[f"{'ab'[number % 2]}/{number:02d}.png"] = buffer.getvalue()
    return dict(sorted(found.items()))


@pytest.fixture
def folder(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    """The pictures as files."""
    for name, content in pictures.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "photos"


@pytest.fixture
def tars(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    """The pictures in two tars, one of them compressed, beside members that are no images."""
    root = tmp_path / "tars"
    root.mkdir()
    names = list(pictures)
    for shard, mode, members in (("0.tar", "w", names[:11]), ("1.tar.gz", "w:gz", names[11:])):
        with tarfile.open(root / shard, mode) as archive:
            for name in [*members, "notes.txt", ".hidden.png"]:
                content = pictures.get(name, b"a note")
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return root


@pytest.fixture
def tables(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    """The pictures in two Parquet files with row groups of four, as Hugging Face keeps them."""
    root = tmp_path / "tables"
    root.mkdir()
    rows = [
        {"image": {"bytes": data, "path": name}, "key": name} for name, data in pictures.items()
    ]
    for number, part in enumerate((rows[:13], rows[13:])):
        pq.write_table(pa.Table.from_pylist(part), root / f"{number}.parquet", row_group_size=4)
    return root


@pytest.fixture
def read_rows() -> Callable[[Path], pa.Table]:
    """All rows of an output folder, in the order of its files."""

    def read(output: Path) -> pa.Table:
        return ds.dataset(output).to_table()

    return read
