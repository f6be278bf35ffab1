"""Turn a checkpoint of the paper's reference implementation into a model folder.

The file is read without running any code from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from clipn.cli.inputs import read_lines


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `clipn import-checkpoint`."""

    file: Annotated[Path, tyro.conf.Positional]
    """The checkpoint, epoch_N.pt, of either variant."""

    model: str
    """Its architecture, which it does not say: a name of open_clip's, or a JSON file."""

    out_dir: Path
    """Gets the model folder."""

    templates: Path | None = None
    """Prompt templates to keep with the model: a file with one a line, each with one {}."""

    negated_templates: Path | None = None
    """Likewise what the no tower of a hand-crafted checkpoint reads."""


def run(options: Options) -> int:
    """Import; returns the exit code."""
    from clipn.model import import_reference_checkpoint
    from clipn.templates import check_templates

    model = import_reference_checkpoint(options.file, options.model)
    if options.templates:
        model.templates = check_templates(read_lines(options.templates))
    if options.negated_templates:
        if model.variant != "handcrafted":
            raise ValueError(
                "--negated-templates are for hand-crafted checkpoints; this is a learnable one."
            )
        lines = read_lines(options.negated_templates)
        model.negated_templates = check_templates(lines, what="negated templates")
    model.save(options.out_dir)
    Console(soft_wrap=True).print(
        f"Imported a {model.variant} checkpoint on {model.source.name} "
        f"(tau {model.tau:.2f}): {options.out_dir}",
        markup=False,
        highlight=False,
    )
    return 0
