"""What is damaged and how it is read: a whole specimen, its files, and the answer that it gives."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import specimens
from mutations import damage

from clipn.class_names import check_class_names
from clipn.cli.inputs import read_class_names
from clipn.data.image_set import ImageSet
from clipn.data.image_set_files import read_list_file
from clipn.data.image_set_tables import read_parquet
from clipn.data.image_set_tars import read_tars
from clipn.data.images import read_image
from clipn.data.pairs import BadPair, open_pairs
from clipn.errors import ClipnError, DataError

Outcome = Literal["same answer", "other answer", "refused"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of input."""

    name: str
    """What it is called in the table."""

    write: Callable[[Path], list[Path]]
    """Writes whole specimens into a folder; returns the files that are to be damaged."""

    read: Callable[[Path, Path], str]
    """Reads what lies in a folder, of which one file was damaged; a digest of the answer."""

    refusals: tuple[type[Exception], ...] = (ClipnError,)
    """What it may be refused with."""

    is_sealed: bool = False
    """Whether any damage must be noticed: another answer than that of the whole one is wrong."""


class Arena:
    """A target's specimens, damaged one after the other.

    Args:
        target: What is damaged.
        folder: Empty; the specimens are written there.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self._folder = target, folder
        whole = folder / "whole"
        whole.mkdir(parents=True)
        self._names = [path.relative_to(whole) for path in target.write(whole)]
        self._right: dict[Path, str] = {}

    def attack(self, seed: int) -> Outcome:
        """Damage one file and read the specimen.

        Args:
            seed: Decides which file and how.

        Raises:
            AssertionError: If damage went unnoticed where it must be noticed, or a refusal says
                nothing.
            Exception: Whatever the reader raises that is no refusal.
        """
        draw = random.Random(f"{self.target.name} {seed}")
        name = draw.choice(self._names)
        if name not in self._right:
            with self._copy() as folder:
                self._right[name] = self.target.read(folder, folder / name)
        with self._copy() as folder:
            path = folder / name
            path.write_bytes(damage(path.read_bytes(), draw))
            try:
                answer = self.target.read(folder, path)
            except self.target.refusals as error:
                if not str(error):
                    raise AssertionError("a refusal that says nothing") from error
                return "refused"
        if answer == self._right[name]:
            return "same answer"
        assert not self.target.is_sealed, f"{name}: damage went unnoticed"
        return "other answer"

    def _copy(self) -> "_Copy":
        return _Copy(self._folder / "whole", self._folder / "damaged")


class _Copy:
    """A copy of a folder, gone at the end."""

    def __init__(self, source: Path, place: Path) -> None:
        self._source, self._place = source, place

    def __enter__(self) -> Path:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._source, self._place)
        return self._place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place, ignore_errors=True)


def digest(*parts: object) -> str:
    """A digest of bytes, arrays and what has a stable text."""
    total = hashlib.sha256()
    for part in parts:
        is_bytes = isinstance(part, bytes)
        total.update(
            part
            if is_bytes
            else part.tobytes()
            if isinstance(part, np.ndarray)
            else repr(part).encode()
        )
    return total.hexdigest()


def _write_images(folder: Path) -> list[Path]:
    return [_put(folder / name, content) for name, content in specimens.make_images().items()]


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _read_image(_: Path, path: Path) -> str:
    """A damaged image may well be another one, but always the same, and RGB."""
    images = [read_image(path), read_image(path.read_bytes())]
    assert [image.mode for image in images] == ["RGB", "RGB"]
    answers = {digest(image.size, image.tobytes()) for image in images}
    assert len(answers) == 1, "a file and its bytes give two images"
    return answers.pop()


def _read_set(images: ImageSet) -> str:
    """All that an image set holds; an image that cannot be read says why."""
    return digest(images.ids, images.labels, images.label_names, *_images_in(images))


def _images_in(images: ImageSet) -> Iterator[bytes]:
    for row in range(len(images.images)):
        try:
            yield read_image(images.images[row]).tobytes()
        except DataError as error:
            yield str(error).encode()


def _write_image_tar(folder: Path) -> list[Path]:
    members = {}
    for number, (image, _, label) in enumerate(specimens.make_pairs()):
        members[f"{number}.jpg"] = image
        members[f"{number}.cls"] = str(label).encode()
    return [specimens.write_tar(folder / "images.tar", members)]


def _write_list_file(folder: Path) -> list[Path]:
    lines = []
    for number, (image, _, label) in enumerate(specimens.make_pairs()):
        (folder / f"{number}.jpg").write_bytes(image)
        lines.append(f"{number}.jpg {label}")
    return [_put(folder / "list.txt", "\n".join(lines).encode())]


def _read_pairs(folder: Path, path: Path) -> str:
    """All pairs of a file; where a shard breaks is part of the answer."""
    parts: list[object] = []
    for shard in open_pairs(path, class_column="label", rows_per_shard=4):
        try:
            for pair in shard.read():
                if isinstance(pair, BadPair):
                    parts.append((pair.key, pair.reason))
                    continue
                place = pair.image
                content = place if isinstance(place, bytes) else place.read_bytes()
                parts.append((pair.key, content, pair.captions, pair.class_id))
        except DataError as error:
            parts.append(str(error).replace(str(folder), ""))
    return digest(*parts)


def _write_class_file(folder: Path) -> list[Path]:
    text = "\ufefftabby cat\nespresso\nSchildkröte\n猫\n\nschool bus\n"
    return [_put(folder / "names.txt", text.encode())]


DATA_TARGETS = (
    Target(name="images", write=_write_images, read=_read_image),
    Target(
        name="image tars",
        write=_write_image_tar,
        read=lambda folder, path: _read_set(read_tars(path)),
    ),
    Target(
        name="image tables (Parquet)",
        write=lambda folder: [specimens.write_pair_parquet(folder)],
        read=lambda folder, path: _read_set(read_parquet(path)),
    ),
    Target(
        name="list files",
        write=_write_list_file,
        read=lambda folder, path: _read_set(read_list_file(path, folder)),
    ),
    Target(
        name="class files",
        write=_write_class_file,
        read=lambda folder, path: digest(check_class_names(read_class_names(str(path)))),
        refusals=(ClipnError, ValueError),  # the commands turn both into one line
    ),
    Target(
        name="pairs in tars",
        write=lambda folder: [specimens.write_pair_tar(folder)],
        read=_read_pairs,
    ),
    Target(
        name="pairs in CSV files",
        write=lambda folder: [specimens.write_pair_csv(folder)],
        read=_read_pairs,
    ),
    Target(
        name="pairs in Parquet files",
        write=lambda folder: [specimens.write_pair_parquet(folder)],
        read=_read_pairs,
    ),
)
"""What comes from elsewhere: any bytes at all."""
