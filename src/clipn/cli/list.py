"""Show the models, the scores and the benchmark suites that there are."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from rich.table import Table
from rich.text import Text

from clipn.cli.outputs import make_console


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn list`."""

    what: Annotated[Literal["all", "models", "scores", "suites"], tyro.conf.Positional] = "all"
    """What to show."""


def run(options: Options) -> int:
    """Print the lists; returns the exit code."""
    console = make_console()
    if options.what in ("all", "scores"):
        console.print(_list_scores())
    if options.what in ("all", "suites"):
        console.print(_list_suites())
    if options.what in ("all", "models"):
        console.print(_list_models())
    return 0


def _list_scores() -> Table:
    """Every score with what it needs and what it is."""
    from clipn.scores import SCORES

    table = Table("score", "needs", "own rule", "what it is", box=None, header_style="bold")
    for score in SCORES.values():
        needs = ", ".join(sorted(score.needs)) or "-"
        rule = "yes" if score.refuses else "no"
        table.add_row(score.name, needs, rule, Text(score.summary))
    return table


def _list_suites() -> Table:
    """Every suite with its sets."""
    from clipn.benchmarks import SUITES

    table = Table("suite", "ID", "OOD", "what it is", box=None, header_style="bold")
    for suite in SUITES.values():
        outside = ", ".join(spec.name for spec in suite.ood_sets)
        table.add_row(suite.name, suite.id_set.name, outside, Text(suite.title))
    return table


def _list_models() -> Table:
    """The compact model, then open_clip's architectures that can get a "no" with their tags."""
    import open_clip

    table = Table("model", "pretrained tags", box=None, header_style="bold")
    table.add_row("compact", 'comes with clipn and says "no"')
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name) or {}
        # What CLIPN refuses: text towers from elsewhere, and CoCa's.
        if "hf_model_name" in config["text_cfg"] or "multimodal_cfg" in config:
            continue
        if tags := open_clip.list_pretrained_tags_by_model(name):
            table.add_row(name, Text(", ".join(tags)))
    return table
