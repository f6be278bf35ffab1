"""Class banks on disk, so that thousands of class names are embedded once."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from clipn.class_names import check_class_names
from clipn.files import write_tensors
from clipn.model.class_bank import ClassBank
from clipn.model.clipn import CLIPN

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where clipn keeps what it can make again: $CLIPN_CACHE, or ~/.cache/clipn."""
    return Path(os.environ.get("CLIPN_CACHE") or Path.home() / ".cache" / "clipn")


def cached_class_bank(
    model: CLIPN,
    names: Sequence[str],
    *,
    templates: Sequence[str] | None = None,
    negated_templates: Sequence[str] | None = None,
) -> ClassBank:
    """`CLIPN.class_bank`, read from disk where the same model has embedded the same names before.

    A cache that cannot be written is no error: the bank is then made anew each time.

    Args:
        model: The text towers.
        names: Class names.
        templates: See `CLIPN.class_bank`.
        negated_templates: See `CLIPN.class_bank`.

    Raises:
        ValueError: If names or templates are wrong.
    """
    checked = check_class_names(names)
    yes_templates = tuple(model.templates if templates is None else templates)
    no_templates = tuple(
        model.negated_templates if negated_templates is None else negated_templates
    )
    key = json.dumps([model.fingerprint("text"), checked, yes_templates, no_templates])
    path = cache_folder() / "banks" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        if path.exists():
            tensors = load_file(path, device=str(model.device))
            yes, no = tensors["yes"], tensors.get("no")
            return ClassBank(names=checked, templates=yes_templates, yes=yes, no=no)
    except (OSError, SafetensorError, KeyError) as error:
        log.warning("The cached class bank %s cannot be read and is made anew: %s", path, error)
    bank = model.class_bank(names, templates=templates, negated_templates=negated_templates)
    tensors = {"yes": bank.yes} if bank.no is None else {"yes": bank.yes, "no": bank.no}
    try:
        write_tensors(path, {name: rows.cpu().contiguous() for name, rows in tensors.items()})
    except OSError as error:
        log.info("The class bank is not cached: %s", error)
    return bank
