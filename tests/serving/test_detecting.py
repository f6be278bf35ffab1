"""Answers over HTTP are those of the library."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch
from PIL import Image

from clipn.detector import Detector
from clipn.serving.torch_engine import TorchEngine


def as_json(*files: bytes) -> list[dict[str, str]]:
    return [{"data": base64.b64encode(data).decode()} for data in files]


@pytest.fixture(scope="module")
def files(photos) -> list[bytes]:
    return [path.read_bytes() for path in photos]


@pytest.mark.parametrize("score", ["atd", "ctw", "msp", "max_logit", "energy", "mcm"])
def test_answers_are_those_of_the_detector(
    client, detect, files, compact_model, class_names, score: str
):
    threshold = None if score in ("atd", "ctw") else 0.5
    detector = Detector(compact_model, class_names, score=score, threshold=threshold)
    expected = detector.predict(files)
    fields = {"score": score} | ({} if threshold is None else {"threshold": "0.5"})

    form = detect(client, *files, **fields).json()
    body = {"images": as_json(*files), "score": score, "threshold": threshold}
    other = client.post("/v1/detect", json=body).json()

    for response in (form, other):
        assert response["score"] == score
        assert response["rule"] == expected.rule
        assert response["threshold"] == threshold
        assert response["class_set"] == "default"
        for answer, one in zip(response["answers"], expected, strict=True):
            assert (answer["label"], answer["is_ood"]) == (one.label, one.is_ood)
            assert answer["best_class"] == one.best_class
            assert answer["score"] == pytest.approx(one.score, rel=1e-5)


def test_classes_come_with_their_yes_and_no_the_likeliest_first(
    client, detect, files, compact_model, class_names
):
    bank = compact_model.class_bank(class_names)
    with torch.inference_mode():
        pixels = compact_model.preprocess(Image.open(io.BytesIO(files[1])).convert("RGB"))
        embeddings = compact_model.encode_image(pixels[None])
        yes, no = (rows[0].double() for rows in compact_model.logits(embeddings, bank))

    (answer,) = detect(client, files[1], top_k="3").json()["answers"]

    order = yes.argsort(descending=True)[:3]
    assert [one["name"] for one in answer["classes"]] == [class_names[i] for i in order]
    for key, values in {
        "p_yes": yes.softmax(dim=-1),
        "p_no": torch.sigmoid(no - yes),
        "logit_yes": yes,
        "logit_no": no,
    }.items():
        assert [one[key] for one in answer["classes"]] == pytest.approx(
            values[order].tolist(), rel=1e-4
        )


def test_a_plain_clip_answers_with_a_threshold_and_knows_no_no(serve, detect, files, plain_model):
    engine = TorchEngine(plain_model, name="plain")
    with serve(engine=engine) as address, httpx.Client(base_url=address, timeout=60) as client:
        answer = detect(client, files[0], classes=["cat", "dog"], threshold="0")
        refused = detect(client, files[0], classes=["cat", "dog"], score="atd")
    (one,) = answer.json()["answers"]
    assert answer.json()["score"] == "msp"
    assert {best["p_no"] for best in one["classes"]} == {None}
    assert refused.status_code == 422
    assert "has not learned" in refused.json()["detail"]


def test_an_unreadable_image_is_told_and_the_others_are_answered(client, detect, files):
    answers = detect(client, files[1], b"no picture", files[0][:5000]).json()["answers"]

    assert answers[0]["label"] == "espresso"
    assert answers[1]["error"].startswith("it is in none of the known formats")
    assert "truncated" in answers[2]["error"].lower()
    for answer in answers[1:]:
        assert (answer["label"], answer["score"], answer["is_ood"]) == ("", None, None)
        assert answer["classes"] == []


def test_images_are_called_what_they_were_sent_as_or_by_their_place(client, files):
    images = [{"name": "größe.png", "data": as_json(files[1])[0]["data"]}, *as_json(files[1])]

    answers = client.post("/v1/detect", json={"images": images}).json()["answers"]

    assert [answer["name"] for answer in answers] == ["größe.png", "image-2"]


def test_concurrent_requests_of_different_classes_get_their_own_answers(
    client, detect, files, compact_model
):
    lists = [["espresso", f"thing {number}"] for number in range(4)]
    expected = {
        tuple(names): [one.score for one in Detector(compact_model, names).predict(files)]
        for names in lists
    }

    def check(number: int) -> None:
        names, row = lists[number % 4], number % len(files)
        (answer,) = detect(client, files[row], classes=names).json()["answers"]
        assert answer["score"] == pytest.approx(expected[tuple(names)][row], rel=1e-5)
        assert {one["name"] for one in answer["classes"]} == set(names)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(check, range(48)))


@pytest.mark.parametrize(
    ("content", "fields", "rule", "threshold"),
    [
        ({}, {}, "atd", None),
        ({"threshold": 0.3}, {}, "threshold", 0.3),
        ({"threshold": 0.3}, {"rule": "ctw"}, "ctw", None),
        ({"threshold": 0.3}, {"threshold": "0.4", "rule": "ctw"}, "threshold", 0.4),
        ({"threshold": 0.3}, {"score": "ctw"}, "ctw", None),
        ({"score": "energy", "threshold": 0.3}, {}, "threshold", 0.3),
        ({"score": "energy", "rule": "atd"}, {}, "atd", None),
        ({"score": "energy"}, {"score": "atd"}, "atd", None),
    ],
)
def test_what_decides_is_found_in_the_documented_order(
    client, detect, files, content, fields, rule: str, threshold
):
    client.put("/v1/classes/order", json={"classes": ["espresso"], **content})

    response = detect(client, files[0], class_set="order", **fields).json()

    assert (response["rule"], response["threshold"]) == (rule, threshold)


def test_nothing_decides_where_a_score_has_neither_rule_nor_threshold(
    client, detect, files, expect_problem
):
    answer = detect(client, files[0], score="energy")

    expect_problem(answer, 409, "not-calibrated")
