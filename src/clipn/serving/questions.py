"""What a request asks for: read from JSON or a form, completed by its class set."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from clipn.calibration import ConformalCalibration, threshold_from_json
from clipn.predictions import Threshold
from clipn.serving.batching import Question
from clipn.serving.bodies import read_body, stream_body
from clipn.serving.class_sets import ClassSets, StoredClassSet, check_classes
from clipn.serving.engine import EngineInfo
from clipn.serving.forms import Form, read_form
from clipn.serving.problems import ProblemError, field_errors
from clipn.serving.schemas import (
    ClassSetContent,
    Decider,
    DetectOptions,
    DetectorClassSet,
    DetectRequest,
    FieldError,
    RuleName,
    ScoreName,
)
from clipn.serving.service import DEFAULT_CLASS_SET, Service
from clipn.serving.settings import Settings

__all__ = ["Images", "Resolved", "parse_json", "read_detect_request", "resolve"]

Images = list[tuple[str, bytes]]
"""Names, empty where there was none, and files."""

Model = TypeVar("Model", bound=BaseModel)

MAX_NAME_LENGTH = 255  # of an image
MAX_FIELD_BYTES = 4096
LARGE_BODY_BYTES = 1 << 18  # takes long enough to parse that others should not wait for it
JSON_TYPE, FORM_TYPE = "application/json", "multipart/form-data"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A question, and the classes that it is about.

    Attributes:
        question: For the engine.
        names: The class names.
        class_set: Which class set; None if the request brought its own classes.
        calibration: What p-values compare with; None where there are none.
    """

    question: Question
    names: tuple[str, ...]
    class_set: StoredClassSet | None
    calibration: ConformalCalibration | None


async def read_detect_request(
    request: Request, service: Service, take: Callable[[int], None]
) -> tuple[Images, DetectOptions]:
    """Read images and options of a request, as JSON or as a form.

    Args:
        request: Its body was not touched yet.
        service: Its settings limit the body.
        take: Counts bytes, as `ByteBudget.share` says.

    Raises:
        ProblemError: If it is damaged, too large, or not as it should be.
    """
    settings = service.settings
    content_type = request.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM_TYPE:
        form = Form(
            max_images=settings.images,
            max_image_bytes=settings.image_bytes,
            max_fields=settings.classes + len(DetectOptions.model_fields),
            max_field_bytes=MAX_FIELD_BYTES,
        )
        body = stream_body(request, max_bytes=settings.body_bytes, take=take)
        await read_form(body, form, content_type=content_type)
        return form.images, _form_options(form)
    if media_type != JSON_TYPE:
        raise ProblemError(
            "unsupported-media-type", f"Send {JSON_TYPE} or {FORM_TYPE}; got {media_type!r}."
        )
    data = await read_body(request, max_bytes=settings.body_bytes, take=take)
    if len(data) > LARGE_BODY_BYTES:
        return await asyncio.to_thread(_parse_detect_request, data, settings)
    return _parse_detect_request(data, settings)


def _form_options(form: Form) -> DetectOptions:
    errors = [
        FieldError(pointer=f"/{name}", detail="The field occurs more than once.")
        for name, values in form.fields.items()
        if name != "classes" and len(values) > 1
    ]
    if not form.images:
        errors.append(FieldError(pointer="/images", detail="At least one image is needed."))
    errors += [
        FieldError(
            pointer="/images", detail=f"A file name has more than {MAX_NAME_LENGTH} letters."
        )
        for name, _ in form.images
        if len(name) > MAX_NAME_LENGTH
    ]
    if errors:
        raise ProblemError("invalid-request", "The form is not as it should be.", errors=errors)
    values = {n: v if n == "classes" else v[0] for n, v in form.fields.items()}
    try:
        return DetectOptions.model_validate(values)
    except ValidationError as error:
        raise _not_accepted(error) from error


def parse_json(data: bytes, model: type[Model]) -> Model:
    """Read a JSON body.

    Raises:
        ProblemError: If it is no JSON, or not as the model says.
    """
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise _not_accepted(error) from error


def _not_accepted(error: ValidationError) -> ProblemError:
    errors = field_errors(error)
    return ProblemError(
        "invalid-request", f"{len(errors)} parts of the request are not as they should be."
        if len(errors) > 1 else "A part of the request is not as it should be.",
        errors=errors,
    )  # fmt: skip


def _parse_detect_request(data: bytes, settings: Settings) -> tuple[Images, DetectOptions]:
    request = parse_json(data, DetectRequest)
    if len(request.images) > settings.images:
        raise ProblemError(
            "too-many-images",
            f"A request may have at most {settings.images} images; got {len(request.images)}.",
        )
    images: Images = []
    for position, image in enumerate(request.images):
        try:
            decoded = base64.b64decode(image.data, validate=True)
        except (binascii.Error, ValueError) as error:
            place = FieldError(pointer=f"/images/{position}/data", detail="It is no base64.")
            raise ProblemError(
                "invalid-request", "An image is not in base64.", errors=[place]
            ) from error
        if len(decoded) > settings.image_bytes:
            raise ProblemError(
                "image-too-large",
                f"An image may have at most {settings.image_bytes} bytes; "
                f"image {position} has {len(decoded)}.",
            )
        images.append((image.name, decoded))
    return images, request


async def resolve(options: DetectOptions, service: Service) -> Resolved:
    """Find the classes that are asked for, and what decides.

    Raises:
        ProblemError: If there is no such class set, the classes are wrong, or nothing decides.
    """
    class_set = None
    if options.classes is None:
        class_set = service.class_sets.get(options.class_set or DEFAULT_CLASS_SET)
    score, rule, threshold = decide(
        options, None if class_set is None else class_set.content, service.engine.info
    )
    if class_set is not None:
        names, bank = tuple(class_set.content.classes), class_set.bank
    else:
        settings = service.settings
        names = check_classes(
            options.classes or [], max_classes=settings.classes, max_length=settings.name_length
        )
        bank = await service.banks.get(names)
    question = Question(bank=bank, score=score, rule=rule, threshold=threshold, top_k=options.top_k)
    calibration = _find_calibration(names, score, service.class_sets)
    return Resolved(question=question, names=names, class_set=class_set, calibration=calibration)


def _find_calibration(
    names: tuple[str, ...], score: ScoreName, class_sets: ClassSets
) -> ConformalCalibration | None:
    """What these scores can be compared with, whoever names the classes, whatever decides."""
    if DEFAULT_CLASS_SET not in class_sets:
        return None
    content = class_sets.get(DEFAULT_CLASS_SET).content
    if not isinstance(content, DetectorClassSet) or content.score != score:
        return None
    return content.calibration if tuple(content.classes) == names else None


def decide(
    options: DetectOptions, content: ClassSetContent | None, info: EngineInfo
) -> tuple[ScoreName, Decider, Threshold | None]:
    """Choose score, rule and threshold.

    A threshold of the request goes before its rule, that before the class set's threshold for the
    same score, that before the class set's rule, and that before the score's own rule.

    Args:
        options: What the request says.
        content: What the class set says, if there is one.
        info: What the engine can do.

    Raises:
        ProblemError: If the engine cannot do that, or nothing decides.
    """
    content = content or ClassSetContent.model_construct()
    set_score = content.score or info.score
    score = options.score or set_score
    own_rule: RuleName | None = score if score in ("ctw", "atd") else None
    rule = options.rule or content.rule or own_rule
    threshold: Threshold | None = options.threshold
    if threshold is None and options.rule is None and score == set_score:
        threshold = threshold_from_json(content.threshold)
    if score not in info.scores or (rule is not None and not info.has_no):
        raise ProblemError(
            "invalid-request",
            f'The model has not learned "no", which {rule or score} needs; it can take '
            f"{', '.join(info.scores)}, with a threshold.",
        )
    if threshold is not None:
        return score, "threshold", threshold
    if rule is None:
        raise ProblemError(
            "not-calibrated",
            f"The score {score} has no decision rule of its own: give a threshold, or a rule.",
        )
    return score, rule, None
