"""Results on disk: one JSON a (model, suite, score) that says where every figure is from."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from clipn.data.array_file import read_arrays
from clipn.errors import DataError
from clipn.files import read_json, write_aside, write_json

FORMAT_VERSION = 1
RESULTS = "results"
CONVENTION = (
    "ID is the positive class; FPR95 is the smallest FPR whose TPR is at least 0.95; shares"
)


@dataclass(frozen=True, kw_only=True)
class SetCount:
    """How much of a set went into a result.

    Attributes:
        kind: "id", "near", "far" or "ood".
        num_images: Images of the set.
        num_unreadable: How many of them could not be read and were left out.
        fingerprint: Of the set's names and contents.
    """

    kind: str
    num_images: int
    num_unreadable: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one score of one model reaches on one suite; all figures are shares, not percent.

    Attributes:
        suite: Name of the suite.
        score: Name of the score.
        score_options: Its options.
        model: What the model was loaded as.
        model_fingerprint: Hash of its weights.
        package_version: Of clipn.
        date: When it was measured, ISO 8601.
        convention: What the figures mean.
        templates: Prompt templates of the class bank.
        class_names: The known classes.
        tau: Temperature of the logits.
        words: Where negative words came from and how many there were; None without words.
        data: Counts and fingerprint of every set, by its name.
        id_accuracy: Zero-shot top-1 accuracy on the ID images, the score aside.
        sets: Figures of every OOD set, by its name.
        averages: Plain means over the sets, for "all" and for each kind.
        rules: What each decision rule does: share of ID kept, of OOD refused, H.
        scores_file: The scores themselves, beside the JSON.
    """

    suite: str
    score: str
    score_options: dict[str, Any]
    model: str
    model_fingerprint: str
    package_version: str
    date: str
    convention: str
    templates: list[str]
    class_names: list[str]
    tau: float
    words: dict[str, Any] | None
    data: dict[str, SetCount]
    id_accuracy: float | None
    sets: dict[str, dict[str, Any]]
    averages: dict[str, dict[str, float]]
    rules: dict[str, dict[str, Any]]
    scores_file: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Suite, model and score."""
        return self.suite, self.model, self.score


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """The scores of every image of a suite: NaN where an image could not be read.

    Attributes:
        id_scores: Of the ID images, by the OOD set that they were scored beside: the same array for
            all, but for scores that depend on the order of the stream.
        ood_scores: Of the OOD images, by the name of their set.
        id_right: Whether each ID image's most likely class is its own; None without labels.
        id_best: The most likely class of each ID image, a row of the result's class names; None
            where it was not kept.
        ood_best: That of each OOD image, by the name of their set; empty where it was not kept.
    """

    id_scores: dict[str, Float[np.ndarray, " num_id"]]
    ood_scores: dict[str, Float[np.ndarray, " any"]]
    id_right: Bool[np.ndarray, " num_id"] | None = None
    id_best: Int[np.ndarray, " num_id"] | None = None
    ood_best: dict[str, Int[np.ndarray, " any"]] = field(default_factory=dict)


def result_path(out_dir: Path, suite: str, model: str, score: str) -> Path:
    """Where a result is kept.

    Example:
        >>> result_path(Path("out"), "cifar10", "ViT-B-16/laion2b", "atd").as_posix()
        'out/results/cifar10/ViT-B-16--laion2b/atd.json'
    """
    slug = "--".join(part for part in model.replace(":", "/").split("/") if part not in ("", "."))
    return out_dir / RESULTS / suite / slug / f"{score}.json"


def write_result(out_dir: Path, result: Result, scores: SetScores) -> Path:
    """Write the scores, then the result that names them; returns its path."""
    path = result_path(out_dir, result.suite, result.model, result.score)
    with write_aside(path.with_name(result.scores_file)) as aside, aside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **_arrays(scores))
    write_json(path, {"format_version": FORMAT_VERSION, **asdict(result)})
    return path


def _arrays(scores: SetScores) -> dict[str, np.ndarray]:
    """What is kept: the ID scores once where they are the same beside every OOD set."""
    first = next(iter(scores.id_scores.values()))
    if all(values is first for values in scores.id_scores.values()):
        inside = {"id": first}
    else:
        inside = {f"id beside {name}": values for name, values in scores.id_scores.items()}
    if scores.id_right is not None:
        inside["id right"] = scores.id_right
    if scores.id_best is not None:
        inside["best of id"] = scores.id_best
    outside = {f"ood {name}": values for name, values in scores.ood_scores.items()}
    best = {f"best of ood {name}": classes for name, classes in scores.ood_best.items()}
    return inside | outside | best


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        DataError: If the file is missing, damaged or of another format.
    """
    try:
        content = read_json(path)
        if content.pop("format_version") != FORMAT_VERSION:
            raise DataError(f"{path} is of another format version; this is {FORMAT_VERSION}.")
        content["data"] = {name: SetCount(**count) for name, count in content["data"].items()}
        return Result(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as a result: {error}") from error


def read_results(out_dir: Path) -> list[Result]:
    """Read all results below a folder, ordered by suite, model and file name.

    Raises:
        DataError: If there is none, or one is damaged.
    """
    paths = sorted((out_dir / RESULTS).glob("*/*/*.json"))
    if not paths:
        raise DataError(
            f"{out_dir} holds no results: there is no {RESULTS}/SUITE/MODEL/SCORE.json in it. "
            "clipn eval makes them."
        )
    return [read_result(path) for path in paths]


def read_scores(out_dir: Path, result: Result) -> SetScores:
    """Read the scores behind a result.

    Raises:
        DataError: If they are missing or damaged.
    """
    path = result_path(out_dir, result.suite, result.model, result.score)
    path = path.with_name(result.scores_file)
    arrays = read_arrays(path)
    try:
        outside = {name: arrays[f"ood {name}"] for name in result.sets}
        if "id" in arrays:
            inside = dict.fromkeys(outside, arrays["id"])
        else:
            inside = {name: arrays[f"id beside {name}"] for name in outside}
    except KeyError as error:
        raise DataError(f"{path} lacks {error}.") from error
    best = {name: arrays.get(f"best of ood {name}") for name in outside}
    return SetScores(
        id_scores=inside,
        ood_scores=outside,
        id_right=arrays.get("id right"),
        id_best=arrays.get("best of id"),
        ood_best={name: classes for name, classes in best.items() if classes is not None},
    )


def average(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Plain means of every figure over the OOD sets, for all of them and for each kind.

    Example:
        >>> average({"a": {"kind": "far", "auroc": 0.9}, "b": {"kind": "far", "auroc": 0.7}})
        {'all': {'auroc': 0.8}, 'far': {'auroc': 0.8}}
    """
    kinds = list(dict.fromkeys(figures["kind"] for figures in sets.values()))
    groups = {"all": list(sets.values())}
    groups |= {kind: [f for f in sets.values() if f["kind"] == kind] for kind in kinds}
    return {kind: _mean_figures(group) for kind, group in groups.items()}


def _mean_figures(group: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    rows = list(group)
    names = [name for name, value in rows[0].items() if isinstance(value, float)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def is_current(result: Result, expected: Mapping[str, Any]) -> bool:
    """Whether a result was made from what is given: the same weights, data, words and options."""
    own = {field.name: getattr(result, field.name) for field in fields(result)}
    return all(own[name] == value for name, value in expected.items())
