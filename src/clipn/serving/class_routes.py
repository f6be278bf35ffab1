"""`/v1/classes`: named class sets, read and changed."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from clipn.serving.bodies import read_body
from clipn.serving.class_sets import StoredClassSet, matches
from clipn.serving.problems import ProblemError
from clipn.serving.questions import JSON_TYPE, parse_json
from clipn.serving.schemas import SET_NAME, ClassSet, ClassSetContent, ClassSetList
from clipn.serving.service import TheService

__all__ = ["router"]

router = APIRouter()

Name = Annotated[str, Path(pattern=SET_NAME, description="The name of the class set.")]
IfMatch = Annotated[
    str | None, Header(description="Only if the class set still has this ETag; * for any.")
]
IfNoneMatch = Annotated[str | None, Header(description="* for: only if there is none yet.")]
IfChanged = Annotated[str | None, Header(description="Only if it no longer has this ETag.")]


@router.get("/v1/classes", summary="List class sets")
async def list_class_sets(service: TheService) -> ClassSetList:
    """All class sets, without their class names."""
    return ClassSetList(class_sets=[one.summarise() for one in service.class_sets])


@router.get(
    "/v1/classes/{name}",
    summary="Read a class set",
    response_model=ClassSet,
    responses={304: {"description": "It still has that ETag."}},
)
async def get_class_set(
    name: Name, service: TheService, if_none_match: IfChanged = None
) -> Response:
    """One class set, with its class names and its ETag."""
    class_set = service.class_sets.get(name)
    if if_none_match is not None and matches(if_none_match, class_set.etag):
        return Response(status_code=304, headers={"ETag": class_set.etag})
    return _answer(class_set, 200)


@router.put(
    "/v1/classes/{name}",
    summary="Make or change a class set",
    response_model=ClassSet,
    responses={201: {"model": ClassSet, "description": "It is new."}},
)
async def put_class_set(
    request: Request,
    name: Name,
    service: TheService,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Embed class names under a name; answered once requests can use them."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != JSON_TYPE:
        raise ProblemError("unsupported-media-type", f"Send {JSON_TYPE}; got {media_type!r}.")
    settings = service.settings
    try:
        async with asyncio.timeout(settings.deadline_seconds):
            with service.bodies.share() as take:
                data = await read_body(request, max_bytes=settings.body_bytes, take=take)
                content = parse_json(data, ClassSetContent)
            class_set, is_new = await service.class_sets.put(
                name, content, if_match=if_match, if_none_match=if_none_match
            )
    except TimeoutError as error:
        raise ProblemError(
            "deadline",
            f"The class names are not embedded after {settings.deadline_seconds:g} s; that goes "
            "on, so ask again a little later.",
        ) from error
    return _answer(class_set, 201 if is_new else 200)


@router.delete("/v1/classes/{name}", summary="Remove a class set", status_code=204)
async def delete_class_set(name: Name, service: TheService, if_match: IfMatch = None) -> None:
    """Forget a class set; requests under way are answered all the same."""
    service.class_sets.delete(name, if_match=if_match)


def _answer(class_set: StoredClassSet, status: int) -> Response:
    return Response(
        class_set.describe().model_dump_json(),
        status_code=status,
        media_type=JSON_TYPE,
        headers={"ETag": class_set.etag},
    )
