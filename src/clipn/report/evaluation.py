"""The report of an evaluation: one self-contained HTML page."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from clipn.benchmarks.results import Result
from clipn.data.image_sets import ImageSet
from clipn.files import write_text
from clipn.report.evaluation_parts import NUM_STYLES, PartMaker, ScoresOf
from clipn.report.evaluation_table import describe_published, describe_rule
from clipn.report.mistakes import Album, id_set_name

FIGURE_NAMES = {
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "fpr95_ood_positive": "FPR95, OOD positive",
    "aupr_in": "AUPR-in",
    "aupr_out": "AUPR-out",
    "detection_error": "Detection error",
}


def write_report(
    path: str | Path,
    results: Iterable[Result],
    scores: ScoresOf,
    *,
    images: Iterable[ImageSet] = (),
    title: str = "Evaluation",
) -> None:
    """Write the report of an evaluation; it loads nothing and runs no scripts.

    Args:
        path: The HTML file.
        results: What was measured, of any number of suites and models.
        scores: The scores behind the results: a mapping from `Result.key`, or a function that
            finds them, such as `lambda result: read_scores(out_dir, result)`, which is asked once
            for each result.
        images: The sets that were measured, for the pictures. They are recognised by fingerprint;
            a set that is not among them is shown without pictures.
        title: Heading of the page.

    Raises:
        DataError: If scores or images can no longer be read.
        ValueError: If there are no results, or the scores of one are missing.
    """
    results = list(results)
    if not results:
        raise ValueError("A report needs at least one result; got none.")
    maker = PartMaker(results, scores, Album(images))
    text = (
        _environment()
        .get_template("evaluation.html")
        .render(title=title, results=results, groups=maker.groups(), suites=list(maker.suites()))
    )
    write_text(Path(path), text)


def _environment() -> jinja2.Environment:
    """Templates beside this file; whatever they print is escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.PackageLoader("clipn.report", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["breakable"] = breakable
    environment.filters["percent"] = percent
    environment.filters["distinct"] = distinct
    environment.filters["pairs"] = pairs
    environment.globals["describe_published"] = describe_published
    environment.globals["describe_rule"] = describe_rule
    environment.globals["figure_names"] = FIGURE_NAMES
    environment.globals["id_set_name"] = id_set_name
    environment.globals["num_styles"] = NUM_STYLES
    return environment


def percent(share: float | None, decimals: int = 2) -> str:
    """A share in percent; a dash where there is none.

    Example:
        >>> percent(0.93104), percent(None)
        ('93.10', '–')
    """
    return "\N{EN DASH}" if share is None or share != share else f"{100 * share:.{decimals}f}"


def breakable(name: str) -> Markup:
    """A file's name that may be broken where its parts end; escaped.

    Example:
        >>> breakable("a/b&c.jpg")
        Markup('a/<wbr>b&amp;c.<wbr>jpg')
    """
    return Markup("<wbr>").join(re.split(r"(?<=[/:_.])(?=.)", name))


def distinct(results: Sequence[Result], attribute: str) -> list[Any]:
    """The values that an attribute takes, each once, in the order of the results."""
    values: list[Any] = []
    for result in results:
        value = getattr(result, attribute)
        if value not in values:
            values.append(value)
    return values


def pairs(values: Mapping[str, Any] | None) -> str:
    """Names and values in a line; a dash where there are none.

    Example:
        >>> pairs({"percentile": 90}), pairs({})
        ('percentile 90', '–')
    """
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items()) or "\N{EN DASH}"
