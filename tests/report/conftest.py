"""Results and scores as an evaluation leaves them, and pages read back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from clipn.benchmarks.figures import measure_calibrated, measure_rule, measure_sets
from clipn.benchmarks.results import Result, SetCount, SetScores, average
from clipn.data.image_sets import ImageSet
from clipn.report.evaluation import write_report

VOID = {"meta", "img", "link", "br", "hr", "input", "col", "path", "circle"}


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: "list[Node | str]" = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        """All text inside, blanks between elements."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join(" ".join(parts).split())

    def walk(self) -> "Iterator[Node]":
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.walk()

    def all(self, tag: str, *classes: str) -> "list[Node]":
        """Every element below of a tag that has all the classes."""
        return [node for node in self.walk() if node.tag == tag and {*classes} <= {*node.classes}]

    def one(self, tag: str, *classes: str) -> "Node":
        (node,) = self.all(tag, *classes)
        return node

    def rows(self) -> list[list[str]]:
        """The text of every cell of a table."""
        return [
            [cell.text for cell in row.walk() if cell.tag in ("th", "td")] for row in self.all("tr")
        ]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("page", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":  # a place where a word may be broken is no part of it
            return
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        children = self._open[-1].children
        if children and isinstance(children[-1], str):
            data = children.pop() + data
        children.append(data)

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is never closed"


@dataclass
class Measured:
    """Results with the scores behind them."""

    results: list[Result] = field(default_factory=list)
    scores: dict[tuple[str, str, str], SetScores] = field(default_factory=dict)

    def add(
        self,
        score: str,
        id_scores: np.ndarray | dict[str, np.ndarray],
        ood_scores: dict[str, np.ndarray],
        *,
        suite: str = "mine",
        model: str = "tiny",
        id_set: str = "pets",
        kinds: dict[str, str] | None = None,
        id_right: np.ndarray | None = None,
        own_rule_at: float | None = None,
        fingerprints: dict[str, str] | None = None,
        class_names: tuple[str, ...] = ("cat", "dog"),
        templates: tuple[str, ...] = ("a photo of a {}.",),
    ) -> Result:
        """Measure scores as `clipn.evaluate` does."""
        if not isinstance(id_scores, dict):
            id_scores = dict.fromkeys(ood_scores, id_scores)
        scores = SetScores(id_scores=id_scores, ood_scores=ood_scores, id_right=id_right)
        kinds = kinds or dict.fromkeys(ood_scores, "ood")
        sets = measure_sets(scores, kinds, num_resamples=0, seed=0)
        for figures in sets.values():
            figures["auroc_interval"] = [figures["auroc"] - 0.01, figures["auroc"] + 0.01]
        rules = {"calibrated": measure_calibrated(scores, tpr=0.95, seed=0)}
        inside = next(iter(id_scores.values()))
        if own_rule_at is not None:
            kept = ~np.isnan(inside)
            rules[score] = measure_rule(
                None if id_right is None else id_right[kept],
                inside[kept] < own_rule_at,
                {name: values < own_rule_at for name, values in ood_scores.items()},
            )
        fingerprints = fingerprints or {}
        result = Result(
            suite=suite,
            score=score,
            score_options={"percentile": 90},
            model=model,
            model_fingerprint="0123456789abcdef",
            package_version="0.1.0",
            date="2026-11-23T10:00:00+00:00",
            convention="ID positive",
            templates=list(templates),
            class_names=list(class_names),
            tau=100.0,
            words=None,
            data={
                name: SetCount(
                    kind=kind,
                    num_images=len(values),
                    num_unreadable=int(np.isnan(values).sum()),
                    fingerprint=fingerprints.get(name, f"print of {name}"),
                )
                for name, kind, values in (
                    (id_set, "id", inside),
                    *((name, kinds[name], values) for name, values in ood_scores.items()),
                )
            },
            id_accuracy=None if id_right is None else float(id_right.mean()),
            sets=sets,
            averages=average(sets),
            rules=rules,
            scores_file=f"{score}.npz",
        )
        self.results.append(result)
        self.scores[result.key] = scores
        return result


@pytest.fixture
def measured() -> Measured:
    """Nothing measured yet."""
    return Measured()


@pytest.fixture
def read_page() -> Callable[[Path], Node]:
    """Parse a page; every element must be closed."""

    def read(path: Path) -> Node:
        parser = _Parser()
        parser.feed(path.read_text(encoding="utf-8"))
        parser.close()
        return parser.root

    return read


@pytest.fixture
def report(tmp_path: Path, read_page: Callable[[Path], Node]) -> Callable[..., Node]:
    """Write the report of what was measured and read it back."""

    def write(measured: Measured, *, images: tuple[ImageSet, ...] = ()) -> Node:
        path = tmp_path / "report.html"
        write_report(path, measured.results, measured.scores, images=images, title="All of it")
        return read_page(path)

    return write


@pytest.fixture
def coloured_set() -> Callable[[str, int], ImageSet]:
    """A set of single-coloured images: the red of image i is 10 * i."""

    def make(name: str, num_images: int) -> ImageSet:
        images = [np.zeros((12, 16, 3), dtype=np.uint8) for _ in range(num_images)]
        for row, image in enumerate(images):
            image[..., 0] = 10 * row
        return ImageSet(
            name=name,
            images=images,
            labels=tuple(row % 2 for row in range(num_images)),
            label_names=("even", "odd"),
            ids=tuple(f"{name}/{row}.jpg" for row in range(num_images)),
            fingerprint=f"print of {name}",
        )

    return make
