"""The OpenAPI document: bodies, problems, examples, and the limits of this service."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from clipn.serving.forms import IMAGE_FIELD
from clipn.serving.problems import KINDS, PROBLEM_TYPE
from clipn.serving.schemas import ClassSetContent, DetectOptions, DetectRequest, Problem
from clipn.serving.settings import Settings

__all__ = ["describe_with"]

Json = dict[str, Any]

# Which problems an operation may have, beside a token that is missing.
PROBLEMS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("post", "/v1/detect"): (400, 404, 408, 409, 413, 415, 422, 500, 503, 504),
    ("get", "/v1/classes"): (500,),
    ("get", "/v1/classes/{name}"): (404, 422, 500),
    ("put", "/v1/classes/{name}"): (400, 409, 412, 413, 415, 422, 500, 503, 504),
    ("delete", "/v1/classes/{name}"): (404, 409, 412, 422, 500),
    ("get", "/v1/detectors"): (500,),
    ("get", "/metrics"): (500,),
}
_ANSWER = {
    "name": "coffee.png",
    "label": "espresso",
    "is_ood": False,
    "score": 0.9968,
    "p_value": None,
    "best_class": "espresso",
    "classes": [
        {"name": "espresso", "p_yes": 0.9999, "p_no": 0.0031, "logit_yes": 7.88, "logit_no": 2.1},
        {"name": "tabby cat", "p_yes": 0.0001, "p_no": 0.946, "logit_yes": -1.14, "logit_no": 1.72},
    ],
    "error": None,
}
RESPONSE_EXAMPLE = {
    "request_id": "51b8c7de83a38d5d",
    "class_set": None,
    "class_set_version": None,
    "num_classes": 2,
    "score": "atd",
    "rule": "atd",
    "threshold": None,
    "answers": [_ANSWER],
}
CLASS_SET_EXAMPLE = {"classes": ["tabby cat", "espresso"], "score": "atd"}


def describe_with(app: FastAPI, settings: Settings) -> Callable[[], Json]:
    """What makes the document of an application, once.

    Args:
        app: Its routes.
        settings: Their limits become part of the schemas.
    """

    def describe() -> Json:
        """The document."""
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                routes=app.routes,
                description="Every error is a Problem. No address on the web is ever fetched.",
            )
            schemas = document["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas |= _input_schemas(settings)
            _add_bodies(document["paths"])
            for (method, path), statuses in PROBLEMS.items():
                wanted = statuses if settings.token is None else (401, *statuses)
                _add_problems(document["paths"][path][method]["responses"], wanted)
            app.openapi_schema = document
        return app.openapi_schema

    return describe


def _input_schemas(settings: Settings) -> dict[str, Json]:
    """The schemas of what is sent to the service, and of problems, within its limits."""
    models = (DetectRequest, DetectOptions, ClassSetContent, Problem)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    schemas = definitions["$defs"]
    options = schemas.pop("DetectOptions")
    request, content = schemas["DetectRequest"], schemas["ClassSetContent"]
    form = {
        "title": "DetectForm",
        "type": "object",
        "additionalProperties": False,
        "required": [IMAGE_FIELD],
        "properties": {
            IMAGE_FIELD: {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "format": "binary"},
                "description": "The image files; the name of each is its file name.",
            },
            # A form has no null: what is not meant is left out.
            **{name: _without_null(schema) for name, schema in options["properties"].items()},
        },
    }
    for schema in (request, form):
        schema["properties"][IMAGE_FIELD]["maxItems"] = settings.images
    for schema in (request, form, content):
        names = schema["properties"]["classes"]
        names = next((one for one in names.get("anyOf", ()) if one.get("type") == "array"), names)
        names["maxItems"] = settings.classes
        names["items"] = names["items"] | {"maxLength": settings.name_length}
    content["examples"] = [CLASS_SET_EXAMPLE]
    return schemas | {"DetectForm": form}


def _without_null(schema: Json) -> Json:
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return rest | choices[0]


def _add_bodies(paths: Json) -> None:
    """What the routes read themselves, and so FastAPI does not know."""
    detect, put = paths["/v1/detect"]["post"], paths["/v1/classes/{name}"]["put"]
    detect["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": _reference("DetectRequest")},
            "multipart/form-data": {"schema": _reference("DetectForm")},
        },
    }
    put["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _reference("ClassSetContent")}},
    }
    detect["responses"]["200"]["content"]["application/json"]["example"] = RESPONSE_EXAMPLE


def _add_problems(responses: Json, statuses: tuple[int, ...]) -> None:
    for status in statuses:
        titles = [title for number, title in KINDS.values() if number == status]
        response: Json = {
            "description": "; ".join(titles),
            "content": {PROBLEM_TYPE: {"schema": _reference("Problem")}},
        }
        if status == 503:
            seconds = {"schema": {"type": "integer"}, "description": "Seconds until to try again."}
            response["headers"] = {"Retry-After": seconds}
        responses[str(status)] = response


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
