"""The commands of the CC3M recipe, end to end: tars like img2dataset's, a tiny architecture."""

import io
import json
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipn.benchmarks import published_rows
from clipn.cli.main import run
from clipn.data.cache_size import cache_bytes
from clipn.data.embedding_cache import EmbeddingCache
from clipn.model import CLIPN, load_model

README = Path(__file__).parents[2] / "recipes" / "cc3m" / "README.md"
BACKBONE = "ViT-B-16/laion2b_s34b_b88k"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CAPTIONS = {
    "chelsea": "a tabby cat looks into the camera",
    "coffee": "a cup of coffee on a wooden table",
    "astronaut": "portrait of an astronaut in front of a flag",
    "rocket": "a rocket on its launch pad at dusk",
}


def find_commands(*start: str) -> list[list[str]]:
    """The recipe's commands that begin with some words."""
    lines = "".join(BLOCK.findall(README.read_text())).replace("\\\n", " ").splitlines()
    return [words for words in map(shlex.split, lines) if tuple(words[: len(start)]) == start]


def write_tar(folder: Path, number: int, num_pairs: int) -> None:
    """Write a tar as img2dataset does, of real photographs, and what it says of the tar."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    generator = np.random.default_rng(number)
    with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
        for pair in range(num_pairs):
            name = list(CAPTIONS)[pair % len(CAPTIONS)]
            top, left = generator.integers(40, size=2)
            buffer = io.BytesIO()
            pixels = getattr(data, name)()[top : top + 256, left : left + 256]
            Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
            key = f"{number:05d}{pair:04d}"
            about = {"caption": CAPTIONS[name], "url": "https://example.org", "key": key}
            about |= {"status": "success", "error_message": None, "width": 256, "height": 256}
            contents = {
                "jpg": buffer.getvalue(),
                "json": json.dumps(about).encode(),
                "txt": CAPTIONS[name].encode(),
            }
            for suffix, content in contents.items():
                header = tarfile.TarInfo(f"{key}.{suffix}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    statistics = {"count": num_pairs + 3, "successes": num_pairs, "failed_to_download": 3}
    (folder / f"{number:05d}_stats.json").write_text(json.dumps(statistics))
    (folder / f"{number:05d}.parquet").write_bytes(b"metadata, which nobody reads")


@pytest.fixture
def workplace(tmp_path: Path, plain_model: CLIPN, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are run: tars in `cc3m`, photographs in `photos`, a CLIP in `clip`."""
    (tmp_path / "cc3m").mkdir()
    for number, num_pairs in enumerate((7, 5, 8)):
        write_tar(tmp_path / "cc3m", number, num_pairs)
    plain_model.save(tmp_path / "clip")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "photos" / "plain.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_here(words: list[str]) -> int:
    """Run a command with the tiny CLIP in place of the large one."""
    assert words[0] == "clipn"
    return run(["clip" if word == BACKBONE else word for word in words[1:]])


def test_one_command_goes_from_tars_to_a_model(workplace: Path, capsys: pytest.CaptureFixture[str]):
    teach, dry_run = sorted(find_commands("clipn", "train"), key=len)
    assert dry_run == [*teach, "--dry-run"]
    assert run_here(dry_run) == 0, capsys.readouterr().err
    assert "20 in 3 shards (3 by the headers of the tars)" in capsys.readouterr().out
    assert not (workplace / "clipn-cc3m").exists()
    assert run_here(teach) == 0, capsys.readouterr().err
    model = load_model(workplace / "clipn-cc3m")
    assert model.has_no
    assert len(EmbeddingCache(workplace / "clipn-cc3m" / "cache")) == 20
    training = json.loads((workplace / "clipn-cc3m" / "config.json").read_text())["training"]
    published = {"epochs": 10, "batch_size": 2048, "lr": 3e-4, "betas": [0.9, 0.98], "eps": 1e-6}
    published |= {"weight_decay": 0.2, "warmup_steps": 0, "num_prompts": 16}
    assert {name: training[name] for name in published} == published
    [detect] = find_commands("clipn", "detect")
    assert run_here(detect) == 0, capsys.readouterr().err
    assert "1 images:" in capsys.readouterr().out


def test_the_ranks_are_started_with_the_same_options():
    teach = min(find_commands("clipn", "train"), key=len)
    [torchrun] = find_commands("torchrun")
    assert set(teach[1:]) <= set(torchrun)


def test_the_size_of_the_cache_is_what_it_would_be():
    text = README.read_text()
    sizes = [
        cache_bytes(2_891_445, dim=512, context_length=77, num_views=num_views) / 1e9
        for num_views in (1, 10)
    ]
    assert f"a cache of {sizes[0]:.1f} GB" in text
    assert f"draws among them: {sizes[1]:.0f} GB" in text


@pytest.mark.parametrize("score", ["atd", "ctw"])
def test_expected_numbers_are_those_of_the_authors(score: str):
    rows = published_rows("imagenet-mos")
    [row] = [row for row in rows if row.score == score and "release" in (row.backbone or "")]
    auroc, fpr95 = (100 * row.average[name] for name in ("auroc", "fpr95"))
    assert f"| {score} | {auroc:.2f} | {fpr95:.2f} |" in README.read_text()
