"""One self-contained HTML page that shows every picture with its answer."""

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from PIL import Image

from clipn.data.images import read_image
from clipn.files import write_text
from clipn.predictions import Predictions, describe_threshold

PICTURE_SIZE = 360  # pixels of the longer side, enough for two cards on a wide screen


def write_picture_page(
    path: Path,
    answers: Predictions,
    pictures: Sequence[Path],
    class_names: Sequence[str],
    *,
    title: str,
    note: str = "",
) -> None:
    """Write the page; it loads nothing from anywhere else.

    Args:
        path: The HTML file.
        answers: One answer a picture.
        pictures: The image files, in the order of the answers.
        class_names: What there was to choose from.
        title: Heading of the page.
        note: A sentence below the heading.

    Raises:
        DataError: If a picture that has an answer can no longer be read.
        ValueError: If there are not as many pictures as answers.
    """
    if len(pictures) != len(answers):
        raise ValueError(
            f"There must be a picture an answer; got {len(pictures)} for {len(answers)}."
        )
    source = files("clipn.report").joinpath("pictures.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        source
    )
    cards = [
        {"answer": answer, "name": Path(answer.image).name, "data": _encode(picture)}
        for answer, picture in zip(answers, pictures, strict=True)
        if answer.error is None
    ]
    at = "" if answers.threshold is None else f" at {describe_threshold(answers.threshold)}"
    text = template.render(
        title=title,
        note=note,
        cards=cards,
        class_names=class_names,
        unreadable=answers.unreadable,
        decided_by=f"score {answers.score_name}, rule {answers.rule}{at}",
    )
    write_text(path, text)


def _encode(picture: Path) -> str:
    """A picture as a small JPEG in base64."""
    image = read_image(picture)
    image.thumbnail((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
