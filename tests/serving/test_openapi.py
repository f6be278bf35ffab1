"""The OpenAPI document is complete, and Schemathesis finds the service to keep it."""

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import jsonschema
import pytest

from clipn.serving.problems import KINDS, PROBLEM_TYPE
from clipn.serving.schemas import ClassSetContent

TOKEN = "open-sesame"
CONFIG = """
[checks.positive_data_acceptance]
# Whether a precondition holds depends on what is there, which no schema can say.
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 409, 412, 413, 415, 422]
"""


@pytest.fixture(scope="module")
def document(client) -> dict:
    return client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def guarded(serve) -> Iterator[str]:
    """A service with a token and small limits, which random requests reach."""
    content = ClassSetContent(classes=["cat", "dog"], score=None, rule=None, threshold=None)
    limits = {"classes": 20, "name_length": 40, "images": 4}
    with serve(initial={"default": content}, token=TOKEN, **limits) as address:
        yield address


def test_every_route_is_described(document):
    assert {
        (path, method) for path, methods in document["paths"].items() for method in methods
    } == {
        ("/v1/detect", "post"),
        ("/v1/classes", "get"),
        ("/v1/classes/{name}", "get"),
        ("/v1/classes/{name}", "put"),
        ("/v1/classes/{name}", "delete"),
        ("/v1/detectors", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    }


def test_every_reference_leads_somewhere_and_every_schema_is_one(document):
    def references(node) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (value for key, value in node.items() if key == "$ref")
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = document["components"]["schemas"]
    used = set(references(document))
    assert used == {f"#/components/schemas/{name}" for name in schemas} - {
        "#/components/schemas/ValidationError"
    }
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_error_is_a_problem(document):
    statuses = set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert list(response["content"]) == [PROBLEM_TYPE]
                    statuses.add(int(status))
    # Those of other paths and methods belong to no route.
    assert statuses == {status for status, _ in KINDS.values()} - {401, 405}


def test_examples_keep_their_schemas(document):
    schemas = document["components"]["schemas"]

    def check(example, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.validate(example, schema)

    detect = document["paths"]["/v1/detect"]["post"]
    check(detect["responses"]["200"]["content"]["application/json"]["example"], "DetectResponse")
    for name in ("DetectRequest", "ClassSetContent"):
        check(schemas[name]["examples"][0], name)


def test_the_example_is_answered(client, document):
    (example,) = document["components"]["schemas"]["DetectRequest"]["examples"]

    answer = client.post("/v1/detect", json=example)

    assert answer.status_code == 200
    assert answer.json()["answers"][0]["error"] is None


def test_limits_are_those_of_the_service(document, client):
    limits = client.get("/v1/detectors").json()["limits"]
    schemas = document["components"]["schemas"]

    for name in ("DetectRequest", "DetectForm"):
        assert schemas[name]["properties"]["images"]["maxItems"] == limits["images"]
    names = schemas["ClassSetContent"]["properties"]["classes"]
    assert names["maxItems"] == limits["classes"]
    assert names["items"]["maxLength"] == limits["name_length"]


@pytest.mark.parametrize(
    ("media_type", "mode"),
    [
        ("application/json", "all"),
        # In a form everything is text, so that nothing in it is of a wrong type.
        ("multipart/form-data", "positive"),
    ],
)
def test_schemathesis_finds_nothing(guarded, tmp_path, media_type: str, mode: str):
    document = httpx.get(f"{guarded}openapi.json").json()
    content = document["paths"]["/v1/detect"]["post"]["requestBody"]["content"]
    for other in content.keys() - {media_type}:
        del content[other]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", guarded),
        *("--header", f"Authorization: Bearer {TOKEN}", "--mode", mode, "--seed", "0"),
        *("--max-examples", "5", "--phases", "examples,coverage,fuzzing", "--no-color"),
    ]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout[-8000:]
    assert "No issues found" in result.stdout
