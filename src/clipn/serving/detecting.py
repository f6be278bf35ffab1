"""`POST /v1/detect`."""

import asyncio

import numpy as np
from fastapi import APIRouter, Request, Response

from clipn.calibration import threshold_to_json
from clipn.predictions import NONE_OF_THESE
from clipn.serving.batching import Answered
from clipn.serving.engine import Verdicts
from clipn.serving.problems import ProblemError
from clipn.serving.questions import Images, Resolved, read_detect_request, resolve
from clipn.serving.schemas import ClassScore, DetectResponse, ImageAnswer
from clipn.serving.service import TheService

__all__ = ["router"]

router = APIRouter()


@router.post(
    "/v1/detect",
    summary="Detect",
    description="Names what images show, or says that it is none of the classes.",
    response_class=Response,
    responses={200: {"model": DetectResponse}},
)
async def detect(request: Request, service: TheService) -> Response:
    """Answer for the images of a request."""
    service.batcher.check_room()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + service.settings.deadline_seconds
    with service.bodies.share() as take:
        try:
            async with asyncio.timeout_at(deadline):
                images, options = await read_detect_request(request, service, take)
        except TimeoutError as error:
            seconds = service.settings.deadline_seconds
            raise ProblemError(
                "body-timeout",
                f"The body was not there after {seconds:g} s.",
                headers={"Connection": "close"},
            ) from error
        request.state.num_images = len(images)
        try:
            async with asyncio.timeout_at(deadline):
                resolved = await resolve(options, service)
                answered = await service.batcher.answer(
                    [data for _, data in images], resolved.question
                )
        except TimeoutError as error:
            raise ProblemError(
                "deadline",
                f"There was no answer after {service.settings.deadline_seconds:g} s; fewer "
                "images or classes a request take less.",
            ) from error
    response = _respond(request.state.request_id, images, resolved, answered)
    return Response(response.model_dump_json(), media_type="application/json")


def _respond(
    request_id: str, images: Images, resolved: Resolved, answered: Answered
) -> DetectResponse:
    """The answers in the order of the images.

    Nothing here is validated again: it is our own, and a thousand classes an image are many.
    """
    row_of = {position: row for row, position in enumerate(answered.rows)}
    verdicts, calibration, p_values = answered.verdicts, resolved.calibration, None
    if verdicts is not None and calibration is not None:
        p_values = calibration.p_values(verdicts.scores, verdicts.top[:, 0])
    answers = []
    for position, (name, _) in enumerate(images):
        name = name or f"image-{position + 1}"
        if position in answered.errors:
            answers.append(_unreadable(name, answered.errors[position]))
        else:
            assert verdicts is not None
            row = row_of[position]
            p_value = None if p_values is None else float(p_values[row])
            answers.append(_answer(name, verdicts, row, resolved.names, p_value))
    class_set, question = resolved.class_set, resolved.question
    return DetectResponse.model_construct(
        request_id=request_id,
        class_set=None if class_set is None else class_set.name,
        class_set_version=None if class_set is None else class_set.version,
        num_classes=len(resolved.names),
        score=question.score,
        rule=question.rule,
        threshold=threshold_to_json(question.threshold),
        answers=answers,
    )


def _unreadable(name: str, error: str) -> ImageAnswer:
    return ImageAnswer.model_construct(
        name=name,
        label="",
        is_ood=None,
        score=None,
        p_value=None,
        best_class="",
        classes=[],
        error=error,
    )


def _answer(
    name: str, verdicts: Verdicts, row: int, names: tuple[str, ...], p_value: float | None
) -> ImageAnswer:
    best, is_ood = names[verdicts.top[row, 0]], bool(verdicts.refused[row])
    yes = verdicts.logits_yes[row]
    no = None if verdicts.logits_no is None else verdicts.logits_no[row]
    p_no = None if no is None else _sigmoid(no - yes)
    classes = [
        ClassScore.model_construct(
            name=names[index],
            p_yes=float(verdicts.p_yes[row, rank]),
            p_no=None if p_no is None else float(p_no[rank]),
            logit_yes=float(yes[rank]),
            logit_no=None if no is None else float(no[rank]),
        )
        for rank, index in enumerate(verdicts.top[row])
    ]
    return ImageAnswer.model_construct(
        name=name,
        label=NONE_OF_THESE if is_ood else best,
        is_ood=is_ood,
        score=float(verdicts.scores[row]),
        p_value=p_value,
        best_class=best,
        classes=classes,
        error=None,
    )


def _sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))
