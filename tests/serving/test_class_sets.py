"""Class sets: versioned, and changed only by who knows the version that is there."""

from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def put(client, request):
    """Writes the class set of this test: `put(classes, **headers)`; it is removed afterwards."""
    path = f"/v1/classes/{request.node.name[:60].replace('[', '-').replace(']', '')}"

    def put(*classes: str, **headers: str):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.put(path, json={"classes": classes}, headers=headers)

    put.path = path
    yield put
    client.delete(path)


def test_a_new_class_set_is_created_and_read_back(client, put):
    answer = put("tabby cat", "espresso")

    assert answer.status_code == 201
    assert answer.json()["version"] == 1
    assert answer.headers["ETag"] == answer.json()["etag"]
    again = client.get(put.path)
    assert again.json() == answer.json()
    assert again.headers["ETag"] == answer.headers["ETag"]
    names = [one["name"] for one in client.get("/v1/classes").json()["class_sets"]]
    assert names == sorted(names)
    assert put.path.rpartition("/")[2] in names


def test_a_change_is_a_new_version_and_the_same_again_is_none(put):
    first = put("tabby cat")

    assert put("tabby cat").json() == first.json()
    changed = put("tabby cat", "dog")

    assert changed.status_code == 200
    assert changed.json()["version"] == 2
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_only_the_version_that_one_knows_is_changed(client, put, expect_problem):
    old = put("tabby cat").headers["ETag"]
    new = put("dog").headers["ETag"]

    problem = put("pizza", If_Match=old)
    expect_problem(problem, 412, "precondition-failed")
    assert problem.headers["ETag"] == new
    expect_problem(client.delete(put.path, headers={"If-Match": old}), 412, "precondition-failed")
    assert put("pizza", If_Match=f"{old}, {new}").status_code == 200
    assert put("cake", If_Match="*").json()["version"] == 4


def test_a_class_set_is_only_made_where_there_is_none(put, expect_problem):
    expect_problem(put("tabby cat", If_Match="*"), 412, "precondition-failed")
    assert put("tabby cat", If_None_Match="*").status_code == 201
    expect_problem(put("dog", If_None_Match="*"), 412, "precondition-failed")


def test_of_writers_at_once_who_know_the_same_version_one_wins(put):
    etag = put("tabby cat").headers["ETag"]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: put(f"dog {number}", If_Match=etag), range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5


def test_an_unchanged_class_set_is_not_sent_again(client, put):
    etag = put("tabby cat").headers["ETag"]

    same = client.get(put.path, headers={"If-None-Match": etag})
    other = client.get(put.path, headers={"If-None-Match": '"1-other"'})

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert other.status_code == 200


def test_the_class_set_of_the_command_line_cannot_be_changed(client, class_names, expect_problem):
    default = client.get("/v1/classes/default").json()
    assert default["is_read_only"]
    assert default["classes"] == list(class_names)

    answer = client.put("/v1/classes/default", json={"classes": ["dog"]})
    expect_problem(answer, 409, "read-only")
    expect_problem(client.delete("/v1/classes/default"), 409, "read-only")


def test_answers_say_which_version_they_are_from(client, detect, put):
    put("tabby cat")
    put("tabby cat", "espresso")
    name = put.path.rpartition("/")[2]

    response = detect(client, b"GIF", class_set=name).json()

    assert (response["class_set"], response["class_set_version"]) == (name, 2)
    assert response["num_classes"] == 2


def test_what_is_removed_is_gone(client, detect, put, expect_problem):
    put("tabby cat")
    assert client.delete(put.path).status_code == 204

    expect_problem(client.get(put.path), 404, "not-found")
    expect_problem(client.delete(put.path), 404, "not-found")
    answer = detect(client, b"GIF", class_set=put.path.rpartition("/")[2])
    expect_problem(answer, 404, "not-found")
