"""Figures that others have published, to be shown beside measured ones and never as such."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

__all__ = ["PublishedRow", "published_rows"]


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """What a paper or a repository states of one method on one suite; shares, not percent.

    Attributes:
        suite: The suite or group of suites whose protocol it follows.
        method: As its source calls it.
        score: The score of `clipn.scores` that it is to be compared with; None where there is none.
        backbone: The image tower, in words; None where the source does not say.
        sets: Figures by the name of the OOD set; "auroc", "fpr95".
        average: Figures averaged over the source's sets; also "accuracy" of the known classes and
            "h", averaged over domains.
        source: Where the figures are stated.
        verified: Whether they were seen there: "yes", "partly", in another's table only
            ("secondary"), or "unstated".
        positive: Which class FPR95 counts as positive; "unstated" where the source does not say.
    """

    suite: str
    method: str
    score: str | None
    backbone: str | None
    sets: Mapping[str, Mapping[str, float]]
    average: Mapping[str, float]
    source: str
    verified: Literal["yes", "partly", "secondary", "unstated"]
    positive: Literal["id", "ood", "unstated"]


def published_rows(suite_name: str) -> tuple[PublishedRow, ...]:
    """What is published of a suite.

    Args:
        suite_name: Of a suite or of a group of suites, such as "imagenet-mos" or "pacs-open".

    Returns:
        The rows in the order of the package's `published.json`; none where nothing is known.

    Example:
        >>> rows = published_rows("imagenet-mos")
        >>> rows[0].method, rows[0].average["auroc"]
        ('clipn-atd', 0.931)
    """
    return tuple(row for row in _read_rows() if row.suite == suite_name)


@cache
def _read_rows() -> tuple[PublishedRow, ...]:
    text = (resources.files("clipn.benchmarks") / "published.json").read_text(encoding="utf-8")
    return tuple(_to_row(row) for row in json.loads(text)["rows"])


def _to_row(row: dict[str, Any]) -> PublishedRow:
    sets = {name: _to_shares(figures) for name, figures in row.pop("sets").items()}
    average = _to_shares(row.pop("average"))
    return PublishedRow(**row, sets=sets, average=average)


def _to_shares(percent: dict[str, float]) -> dict[str, float]:
    # Rounded, because 93.1 / 100 is not quite 0.931.
    return {metric: round(value / 100, 6) for metric, value in percent.items()}
