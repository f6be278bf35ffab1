"""Publish a model on the Hugging Face hub, with a card made from its results.

The token is read from HF_TOKEN, or is the one that `hf auth login` has stored.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn push`."""

    model: Annotated[str, tyro.conf.Positional]
    """"compact", a model folder, ARCHITECTURE/TAG of open_clip, or hf-hub:org/name@revision."""

    repository: Annotated[str, tyro.conf.Positional]
    """OWNER/NAME on the hub; made if missing."""

    license: str
    """Of the weights, as the hub writes it: mit, cc-by-nc-4.0, other, ..."""

    data_terms: str
    """What the model was taught with and under which terms; a text, or a file that holds it."""

    results: Path | None = None
    """The --out-dir of `clipn eval` with this model: its figures become a table of the card."""

    dtype: Literal["float32", "float16"] = "float32"
    """Precision of the stored weights."""

    private: bool = False
    """Only you may see a repository that is made."""

    branch: str | None = None
    """Gets the commit; the main branch by default."""


def run(options: Options) -> int:
    """Publish; returns the exit code."""
    from clipn.benchmarks.results import read_results
    from clipn.model import load_model
    from clipn.model.hub import push_model

    results = [] if options.results is None else read_results(options.results)
    address = push_model(
        load_model(options.model),
        options.repository,
        license=options.license,
        data_terms=_read_text(options.data_terms),
        results=results,
        training=_find_training(options.model),
        dtype=options.dtype,
        private=options.private,
        branch=options.branch,
    )
    print(f"Published: clipn detect PHOTOS --classes NAMES --model {address}")
    return 0


def _read_text(text: str) -> str:
    """The text itself, or that of the file that it names."""
    is_file = "\n" not in text and len(text) < 256 and Path(text).is_file()
    return Path(text).read_text(encoding="utf-8").strip() if is_file else text


def _find_training(model: str) -> dict[str, Any] | None:
    """What a model folder says of its teaching; None for anything else."""
    from clipn.model.folder import read_model_config
    from clipn.model.weights import COMPACT_FOLDER

    folder = COMPACT_FOLDER if model == "compact" else Path(model)
    return read_model_config(folder)["training"] if folder.is_dir() else None
