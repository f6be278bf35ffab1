"""Trees of a suite's layout made of real images, and a painted suite that is measured at once."""

from itertools import cycle

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipn.benchmarks import Folders, NativeForm, SetSpec, Suite

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
NUM_ID, NUM_OOD = 6, 8  # of each class, of each OOD set


def paint(path, colour, generator):
    noise = generator.integers(-25, 26, size=(40, 40, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def a_set(name, kind, folder, *, holds="images", num_images=NUM_OOD):
    return SetSpec(
        name=name,
        kind=kind,
        layouts=(Folders(folders=(folder,), holds=holds),),
        num_images=num_images,
        citation="none",
        where="Paint it.",
    )


@pytest.fixture
def painted_root(tmp_path):
    """Three classes, two OOD sets and training images."""
    generator = np.random.default_rng(0)
    root = tmp_path / "painted"
    for name, colour in COLOURS.items():
        for number in range(NUM_ID):
            paint(root / "test" / name / f"{number}.png", colour, generator)
            paint(root / "train" / name / f"{number}.png", colour, generator)
    for number in range(NUM_OOD):
        paint(root / "grey" / f"{number}.png", (128, 128, 128), generator)
        paint(root / "pink" / f"{number}.png", (250, 120, 180), generator)
    return root


@pytest.fixture
def painted_suite():
    num_id = NUM_ID * len(COLOURS)
    return Suite(
        name="painted",
        title="Colours against others",
        citation="none",
        id_set=a_set("colours", "id", "test", holds="classes", num_images=num_id),
        ood_sets=(a_set("grey", "far", "grey"), a_set("pink", "near", "pink")),
        class_names=tuple(COLOURS),
        native=NativeForm(size=32),
        training_set=a_set("colours_train", "id", "train", holds="classes", num_images=num_id),
    )


@pytest.fixture(scope="session")
def jpegs(shared_dir):
    """A few real images as JPEG files."""
    table = pq.read_table(shared_dir / "data" / "textures10.parquet", columns=["image"])
    return [row["bytes"] for row in table["image"].slice(0, 20).to_pylist()]


@pytest.fixture
def plant(tmp_path, jpegs):
    """Writes real images to paths below tmp_path."""

    def write(paths):
        for path, image in zip(paths, cycle(jpegs), strict=False):
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)

    return write
