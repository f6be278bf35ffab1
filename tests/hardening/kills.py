"""Kill work at random moments with SIGKILL, start it again, and compare with work in peace.

    python tests/hardening/kills.py --count 50 [--only train]

Every piece of work runs in a fork of this process, which has loaded everything already, so that
moments fall into the work and not into imports.
"""

import argparse
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import specimens
import torch
from own_targets import NAMES, tiny_model

from clipn.batch import BatchOptions, score_images
from clipn.benchmarks import embeddings
from clipn.data import row_cache
from clipn.data.cache_build import BuildSettings, build_cache
from clipn.data.image_set_files import read_folder
from clipn.data.pairs import open_pairs
from clipn.detector import Detector
from clipn.locking import LOCK
from clipn.training import PairsConfig, TrainConfig, train

NUM_PICTURES = 48


def prepare(folder: Path) -> None:
    """Pictures as files and in a tar of pairs."""
    (folder / "photos").mkdir()
    members = {}
    for number in range(NUM_PICTURES):
        content = specimens.encode(specimens.draw_picture(shift=number % 9), "PNG")
        (folder / "photos" / f"{number:02d}.png").write_bytes(content)
        members[f"{number:02d}.png"] = content
        members[f"{number:02d}.txt"] = f"a picture of thing {number}".encode()
    for part in range(4):
        names = [name for name in members if int(name[:2]) % 4 == part]
        specimens.write_tar(folder / f"pairs-{part}.tar", {name: members[name] for name in names})


def _shards(given: Path) -> list[Path]:
    return sorted(given.glob("pairs-*.tar"))


def train_a_model(given: Path, out: Path) -> None:
    """Embed pairs, teach for some steps, save."""
    config = TrainConfig(
        model="tiny",
        pairs=PairsConfig(source=str(given / "pairs-*.tar")),
        out_dir=out,
        epochs=4,
        batch_size=16,
        num_prompts=4,
        num_workers=1,
        checkpoint_every=2,
        log_every=1,
    )
    torch.manual_seed(0)
    train(config, model=copy.deepcopy(tiny_model()))


def build_a_cache(given: Path, out: Path) -> None:
    """Embed pairs."""
    model = tiny_model()
    settings = BuildSettings(transform=model.preprocess, num_workers=1, batch_size=4)
    build_cache(open_pairs(_shards(given)), model, out, settings)


def embed_a_set(given: Path, out: Path) -> None:
    """Embed the images of a set as an evaluation does."""
    row_cache.BLOCK_ROWS = 8
    images = read_folder(given / "photos", layout="flat")
    options = embeddings.EmbeddingOptions(cache_dir=out, batch_size=4, num_workers=1)
    embeddings.embed_set(tiny_model(), images, options)


def score_a_folder(given: Path, out: Path) -> None:
    """Answer for a folder of images, into Parquet files."""
    detector = Detector(tiny_model(), NAMES)
    options = BatchOptions(rows_per_partition=6, batch_size=3)
    score_images(given / "photos", out, detector, options=options)


WORKS: dict[str, Callable[[Path, Path], None]] = {
    "train": train_a_model,
    "cache": build_a_cache,
    "eval": embed_a_set,
    "batch": score_a_folder,
}
TIMES = {"pairs_per_second", "seconds", "date"}


def digest_of(out: Path) -> str:
    """All that work left behind, but the time that it took and the file of a lock."""
    total = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        if path.name == LOCK:
            continue
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            lines = content.splitlines() if path.suffix == ".jsonl" else [content]
            content = repr([_without_times(json.loads(line)) for line in lines]).encode()
        total.update(path.relative_to(out).as_posix().encode() + b"\0" + content)
    return total.hexdigest()


def _without_times(values: dict[str, object]) -> list[tuple[str, object]]:
    return sorted((key, str(value)) for key, value in values.items() if key not in TIMES)


def _start(work: Callable[[Path, Path], None], given: Path, out: Path) -> int:
    """Work in a fork; returns its process."""
    child = os.fork()
    if child:
        return child
    try:
        work(given, out)
    except BaseException as error:  # noqa: BLE001 - the parent is told by the exit code
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def try_kills(name: str, count: int, given: Path) -> tuple[int, int]:
    """Kill a piece of work at random moments until enough were killed before they were done.

    Returns:
        How many were started, and how many of them did not end alike.
    """
    work, draw = WORKS[name], random.Random(name)
    began = time.monotonic()
    place = given / name
    if os.waitpid(_start(work, given, place), 0)[1]:
        raise SystemExit(f"{name} does not even end in peace")
    seconds, right = time.monotonic() - began, digest_of(place)
    num_tries = num_killed = num_wrong = 0
    while num_killed < count:
        num_tries += 1
        shutil.rmtree(place, ignore_errors=True)
        child = _start(work, given, place)
        time.sleep(1.2 * draw.random() * seconds)  # one that is slower may be killed at its end
        os.kill(child, signal.SIGKILL)
        num_killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        _, status = os.waitpid(_start(work, given, place), 0)
        if status or digest_of(place) != right:
            num_wrong += 1
            print(name, "ended otherwise:", sorted(p.name for p in place.rglob("*")), flush=True)
    return num_tries, num_wrong


def main() -> int:
    """Kill each piece of work and print what came of it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--only", choices=WORKS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tiny_model()
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for name in [options.only] if options.only else WORKS:
            tries, wrong = try_kills(name, options.count, Path(folder))
            print(f"{name}: {options.count} of {tries} killed at work, {wrong} ended otherwise")
            num_wrong += wrong
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
