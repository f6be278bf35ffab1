"""The files that clipn writes itself and reads again."""

import json
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import specimens
import torch
from targets import Target, digest
from torch import nn

from clipn.benchmarks.results import (
    CONVENTION,
    Result,
    SetCount,
    SetScores,
    read_results,
    read_scores,
    write_result,
)
from clipn.data import cache_build
from clipn.data.cache_build import BuildSettings, build_cache
from clipn.data.embedding_cache import EmbeddingCache
from clipn.data.pairs import open_pairs
from clipn.data.row_cache import cached_rows
from clipn.detector import Detector
from clipn.files import file_sha256, write_json
from clipn.model import CLIPN, build_base, load_model
from clipn.model.folder import WEIGHTS
from clipn.training.checkpoint import load_last_checkpoint, restore, save_checkpoint

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NAMES = ("tabby cat", "espresso", "school bus")
RECIPE = {"lr": 0.1, "pairs": {"source": "a.csv"}}


@cache
def tiny_model() -> CLIPN:
    """A tiny CLIPN with random weights that knows few tokens, so that its files are small."""
    torch.manual_seed(0)
    model = CLIPN(build_base(TINY, name="tiny"))
    model.add_no_tower(variant="learnable")
    tokens = model.tokenize([f"a photo of a {name}" for name in NAMES]).unique()
    model.known_tokens = torch.unique(torch.cat([tokens, torch.tensor([0, 49406, 49407])]))
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return load_model(folder)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")


def _write_model(folder: Path) -> list[Path]:
    tiny_model().save(folder / "model")
    return _files_in(folder)


def digest_model(model: CLIPN) -> str:
    """All that a model is."""
    state = [(name, tensor.numpy().tobytes()) for name, tensor in model.state_dict().items()]
    return digest(state, model.templates, model.source, model.variant, model.known_tokens)


def _read_resealed_model(folder: Path, path: Path) -> str:
    """Damage that the checksum covers, as if somebody had written the folder with it."""
    if path.name == WEIGHTS:
        config = json.loads((path.parent / "config.json").read_text())
        write_json(path.parent / "config.json", {**config, "weights_sha256": file_sha256(path)})
    model = load_model(folder / "model")
    assert all(t.isfinite().all() for t in model.state_dict().values() if t.is_floating_point())
    return digest_model(model)


def _write_detector(folder: Path) -> list[Path]:
    detector = Detector(tiny_model(), NAMES, score="max_logit", threshold=1.0)
    pictures = [specimens.draw_picture(shift=shift) for shift in range(8)]
    detector.calibrate(pictures, method="conformal", alpha=0.2)
    detector.save(folder / "detector")
    return sorted((folder / "detector").glob("*.*"))


def _read_detector(folder: Path, _: Path) -> str:
    detector = Detector.load(folder / "detector")
    answers = detector.predict([specimens.draw_picture()])
    return digest(answers.items, detector.class_names)


def _shards(folder: Path) -> list[Any]:
    return open_pairs(folder / "pairs.tar", class_column="label")


def _build(folder: Path) -> EmbeddingCache:
    model = tiny_model()
    settings = BuildSettings(transform=model.preprocess, num_workers=1)
    return build_cache(_shards(folder), model, folder / "cache", settings)


def write_a_cache(folder: Path) -> None:
    """Pairs, and their finished cache."""
    folder.mkdir(exist_ok=True)
    specimens.write_pair_tar(folder)
    _build(folder)


def _write_cache(folder: Path) -> list[Path]:
    write_a_cache(folder)
    return _files_in(folder / "cache")


def _write_unfinished_cache(folder: Path) -> list[Path]:
    specimens.write_pair_tar(folder)
    merge, cache_build.merge_parts = cache_build.merge_parts, _end
    with suppress(InterruptedError):
        _build(folder)
    cache_build.merge_parts = merge
    return _files_in(folder / "cache")


def _end(*_: object, **__: object) -> None:
    raise InterruptedError


def _read_cache(folder: Path, _: Path) -> str:
    """What teaching reads of a cache, and the no tower's embeddings of its tokens."""
    cache = _build(folder)
    choice = cache.choose(np.arange(len(cache)), np.random.default_rng(0))
    pairs = cache.read(choice)
    with torch.inference_mode():
        no = tiny_model().encode_text(pairs.tokens)
    arrays = [pairs.image, pairs.yes, pairs.tokens, pairs.caption_keys, pairs.class_ids, no]
    return digest(*(array.numpy() for array in arrays), cache.locate(len(cache) - 1))


def _rows(folder: Path, *, breaks: bool = False) -> tuple[np.ndarray, dict[int, str]]:
    def make(block: range) -> tuple[np.ndarray, dict[int, str]]:
        if breaks and block.start:
            raise InterruptedError
        rows = np.random.default_rng(block.start).random((len(block), 2), dtype=np.float32)
        rows[1] = np.nan
        return rows, {block.start + 1: "it is no image"}

    return cached_rows(folder / "rows", num_rows=2050, identity={"model": "tiny"}, make_block=make)


def write_rows(folder: Path) -> None:
    """A finished cache of rows."""
    _rows(folder)


def _write_rows(folder: Path) -> list[Path]:
    write_rows(folder)
    return _files_in(folder / "rows")


def _write_unfinished_rows(folder: Path) -> list[Path]:
    with suppress(InterruptedError):
        _rows(folder, breaks=True)
    return _files_in(folder / "rows")


def _read_rows(folder: Path, _: Path) -> str:
    rows, reasons = _rows(folder)
    return digest(np.asarray(rows), rows.shape, sorted(reasons.items()))


def _module() -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1)


def write_a_checkpoint(folder: Path) -> None:
    """A checkpoint of a step of a small module."""
    module, optimizer = _module()
    module(torch.ones(2, 5)).square().sum().backward()
    optimizer.step()
    save_checkpoint(folder, step=7, recipe=RECIPE, module=module, optimizer=optimizer, scaler={})


def _write_checkpoint(folder: Path) -> list[Path]:
    write_a_checkpoint(folder)
    return _files_in(folder)


def _read_checkpoint(folder: Path, _: Path) -> str:
    checkpoint = load_last_checkpoint(folder, recipe=RECIPE)
    assert checkpoint is not None
    module, optimizer = _module()
    restore(checkpoint, module=module, optimizer=optimizer)
    moments = [optimizer.state[parameter] for parameter in module.parameters()]
    return digest(checkpoint.step, checkpoint.scaler, module.state_dict(), moments)


def _result() -> Result:
    return Result(
        suite="tiny", score="msp", score_options={}, model="compact", model_fingerprint="0" * 16,
        package_version="0.1.0", date="2026-01-01T00:00:00+00:00", convention=CONVENTION,
        templates=["a photo of a {}"], class_names=list(NAMES), tau=100.0, words=None,
        data={"id": SetCount(kind="id", num_images=9, num_unreadable=0, fingerprint="0" * 16)},
        id_accuracy=0.5, sets={"far": {"auroc": 0.9, "fpr95": 0.3}},
        averages={"all": {"auroc": 0.9}}, rules={}, scores_file="msp.npz",
    )  # fmt: skip


def write_results(folder: Path) -> None:
    """A result with its scores."""
    scores = np.linspace(0, 1, 9)
    kept = SetScores(id_scores={"far": scores}, ood_scores={"far": scores - 1})
    write_result(folder, _result(), kept)


def _write_results(folder: Path) -> list[Path]:
    write_results(folder)
    return _files_in(folder)


def _read_results(folder: Path, _: Path) -> str:
    parts: list[object] = []
    for result in read_results(folder):
        scores = read_scores(folder, result)
        parts += [result, *scores.id_scores.values(), *scores.ood_scores.values()]
    return digest(*parts)


OWN_TARGETS = (
    Target(
        name="model folders",
        write=lambda folder: [p for p in _write_model(folder) if p.name == WEIGHTS],
        read=lambda folder, _: digest_model(load_model(folder / "model")),
        is_sealed=True,
    ),
    Target(name="model folders, sealed anew", write=_write_model, read=_read_resealed_model),
    Target(name="detector folders", write=_write_detector, read=_read_detector),
    Target(name="embedding caches", write=_write_cache, read=_read_cache),
    Target(name="unfinished caches", write=_write_unfinished_cache, read=_read_cache),
    Target(name="row caches", write=_write_rows, read=_read_rows),
    Target(name="unfinished row caches", write=_write_unfinished_rows, read=_read_rows),
    Target(name="checkpoints", write=_write_checkpoint, read=_read_checkpoint),
    Target(name="results", write=_write_results, read=_read_results),
)
