"""What the service reads and writes, as JSON.

    POST   /v1/detect             images in, a `DetectResponse` out
    GET    /v1/classes            a `ClassSetList`
    GET    /v1/classes/{name}     a `ClassSet`, with its ETag
    PUT    /v1/classes/{name}     a `ClassSetContent` in, a `ClassSet` out (201 if it is new)
    DELETE /v1/classes/{name}
    GET    /v1/detectors          a `DetectorList`: the model, what it can do, the limits
    GET    /healthz, /readyz      a `Health`
    GET    /metrics               Prometheus text

`POST /v1/detect` takes a `DetectRequest` as JSON, or multipart/form-data: one part `images` an
image (its file name is the image's name), and the other fields of `DetectRequest` as text,
`classes` once for each name. Every error is a `Problem` (application/problem+json). With a token,
everything under /v1 and /metrics wants "Authorization: Bearer TOKEN" and answers 401 without it.
The web page is served at / and its other files beside it (/app.js, /style.css); it needs no token
to load.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation

from clipn.calibration import ConformalCalibration

ScoreName = Literal["atd", "ctw", "msp", "max_logit", "energy", "mcm"]
RuleName = Literal["ctw", "atd"]
Decider = Literal["ctw", "atd", "threshold"]

# No control characters; something to see at both ends.
_SPACES = r"\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_VISIBLE, _ANY = rf"[^\x00-\x20\x7f-\x9f{_SPACES}]", r"[^\x00-\x1f\x7f-\x9f]"
_PRINTABLE = rf"^{_VISIBLE}({_ANY}*{_VISIBLE})?$"
SET_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

ClassName = Annotated[
    str, Field(min_length=1, pattern=_PRINTABLE, examples=["tabby cat"], title="Class name")
]
SetName = Annotated[str, Field(pattern=SET_NAME, examples=["pets"], title="Name of a class set")]


def _whole(value: object) -> object:
    """JSON knows no difference between 5 and 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Model(BaseModel):
    """What every model here shares."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class EncodedImage(_Model):
    """One image within a JSON request."""

    name: str = Field("", max_length=255, description="What the answer calls it.")
    data: str = Field(
        description="The image file (JPEG, PNG, WebP, GIF, BMP, TIFF, ...) in base64. Never a URL.",
        json_schema_extra={"pattern": BASE64, "contentEncoding": "base64"},
    )


class DetectOptions(_Model):
    """How to detect: what `POST /v1/detect` takes beside the images."""

    class_set: SetName | None = Field(
        None, description='Which class set to look for; by default the one named "default".'
    )
    classes: list[ClassName] | None = Field(
        None,
        min_length=1,
        description="Class names of this request alone; they go before every class set.",
        json_schema_extra={"uniqueItems": True},
    )
    score: ScoreName | None = Field(
        None,
        description="Which score to take; by default the class set's, or else the service's.",
    )
    rule: RuleName | None = Field(
        None, description="Decide by this rule of the paper; by default the score's own."
    )
    threshold: float | None = Field(
        None,
        description="Refuse images that score below it. It goes before every rule and before the "
        "class set's own threshold.",
    )
    top_k: Annotated[int, BeforeValidator(_whole)] = Field(
        5,
        ge=1,
        le=1000,
        description="How many classes to tell about each image, the likeliest first.",
    )


class DetectRequest(DetectOptions):
    """Images to answer for, as JSON."""

    images: list[EncodedImage] = Field(min_length=1, description="The images.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "images": [
                        {
                            "name": "dot.gif",
                            "data": "R0lGODdhAQABAIABAP8AAP///ywAAAAAAQABAAACAkQBADs=",
                        }
                    ],
                    "classes": ["tabby cat", "espresso"],
                    "top_k": 2,
                }
            ]
        }
    )


class ClassScore(_Model):
    """What one class means to one image."""

    name: str = Field(description="The class.", examples=["espresso"])
    p_yes: float = Field(ge=0, le=1, description="softmax(logits_yes) over all classes.")
    p_no: float | None = Field(
        ge=0,
        le=1,
        description='sigmoid(logit_no - logit_yes): what the "no" of this class says; null for a '
        "plain CLIP.",
    )
    logit_yes: float = Field(description="tau times the cosine of image and class.")
    logit_no: float | None = Field(
        description='tau times the cosine of image and the "no" of the class; null for a plain '
        "CLIP."
    )


class ImageAnswer(_Model):
    """The answer for one image; where `error` is set, nothing else but `name` says anything."""

    name: str = Field(description="As it was sent; image-1, image-2, ... where it had none.")
    label: str = Field(
        description='The class that it shows, or "none of these"; empty if it could not be read.',
        examples=["espresso", "none of these"],
    )
    is_ood: bool | None = Field(
        description="Whether it shows none of the classes; null if it could not be read."
    )
    score: float | None = Field(
        description="Higher = more in-distribution; null if it could not be read."
    )
    p_value: float | None = Field(
        ge=0,
        le=1,
        description="How usual the score is among the images that the service's detector was "
        "calibrated with, lower = less; null unless it was calibrated conformally, for these "
        "classes and this score.",
    )
    best_class: str = Field(description="The likeliest class, also where it was refused.")
    classes: list[ClassScore] = Field(description="The top_k likeliest classes, best first.")
    error: str | None = Field(
        description="Why this image could not be read; the others are answered all the same.",
        examples=["it is in none of the known formats"],
    )


class DetectResponse(_Model):
    """The answers, in the order of the images, and how they were come by."""

    request_id: str = Field(description="As in the header X-Request-ID and in the log.")
    class_set: str | None = Field(
        description="Which class set; null if the request brought its own."
    )
    class_set_version: int | None = Field(description="Its version then.")
    num_classes: int = Field(description="How many classes were looked for.")
    score: ScoreName = Field(description="Which score `answers` hold.")
    rule: Decider = Field(description="What decided: a rule of the paper, or a threshold.")
    threshold: float | list[float] | None = Field(
        description='Of the rule "threshold": images that score below it are refused; one for each '
        "class, of which that of the best class counts, where the class set has its own."
    )
    answers: list[ImageAnswer] = Field(description="One for each image.")


class ClassSetContent(_Model):
    """A class set as its author writes it."""

    classes: list[ClassName] = Field(
        min_length=1,
        description="The class names, each once; capitals and spaces do not tell two apart.",
        examples=[["tabby cat", "espresso"]],
        json_schema_extra={"uniqueItems": True},
    )
    score: ScoreName | None = Field(
        None, description="Which score its requests take by default; else the service's."
    )
    rule: RuleName | None = Field(
        None, description="What decides by default; else the score's own."
    )
    threshold: float | None = Field(
        None, description="Calibrated for `score`: its requests refuse images that score below it."
    )


class DetectorClassSet(ClassSetContent):
    """The class set of a detector, whose classes may each have a threshold of their own."""

    threshold: float | list[float] | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        None,
        description="Calibrated for `score`; a list holds one for each class, in their order, of "
        "which that of the best class counts.",
    )
    calibration: SkipValidation[ConformalCalibration | None] = Field(
        None, exclude=True, description="What p-values compare with; clients are not told it."
    )


class ClassSet(_Model):
    """A named class set, ready to be used: its class names are embedded."""

    name: str = Field(description="What requests call it.", examples=["pets"])
    version: int = Field(ge=1, description="Counts its changes, from 1.")
    etag: str = Field(
        description="As in the header ETag; give it as If-Match to change this version only.",
        examples=['"1-0f3a9c21"'],
    )
    is_read_only: bool = Field(
        description="Whether it comes from the command line and cannot be changed."
    )
    score: ScoreName | None = Field(description="Which score its requests take by default.")
    rule: RuleName | None = Field(description="What decides by default.")
    threshold: float | list[float] | None = Field(
        description="Its own threshold, for `score`; or one for each class, in their order."
    )
    classes: list[str] = Field(description="The class names.")


class ClassSetSummary(_Model):
    """A class set without its class names."""

    name: str = Field(description="What requests call it.")
    version: int = Field(ge=1, description="Counts its changes, from 1.")
    etag: str = Field(description="Identifies this version.")
    is_read_only: bool = Field(description="Whether it cannot be changed.")
    num_classes: int = Field(description="How many classes it has.")


class ClassSetList(_Model):
    """All class sets, by name."""

    class_sets: list[ClassSetSummary] = Field(description="Sorted by name.")


class DetectorInfo(_Model):
    """The detector behind the service."""

    name: str = Field(description="What the command line called it.", examples=["compact"])
    runtime: str = Field(description="What runs it.", examples=["torch", "onnx"])
    has_no: bool = Field(description='Whether the model has learned "no"; atd and ctw need that.')
    takes_classes: bool = Field(
        description="Whether requests may bring classes of their own; an exported file knows only "
        "those that it was exported with."
    )
    scores: list[ScoreName] = Field(description="The scores that it can take.")
    score: ScoreName = Field(description="The score of requests that name none.")
    image_size: int = Field(description="Pixels a side of what the image tower sees.")
    embedding_dim: int = Field(description="Length of an embedding.")
    tau: float = Field(description="What cosines are multiplied by.")
    default_class_set: str | None = Field(
        description="The class set of requests that name none; null: they have to name one."
    )


class Limits(_Model):
    """What a request may hold; more is refused with 413 or 422."""

    body_bytes: int = Field(description="Bytes of the whole body.")
    image_bytes: int = Field(description="Bytes of one image file.")
    image_pixels: int = Field(description="Width times height of one image.")
    images: int = Field(description="Images a request.")
    classes: int = Field(description="Classes a class set or a request.")
    name_length: int = Field(description="Characters of a class name.")
    deadline_seconds: float = Field(description="Until when a request is answered, or given up.")


class DetectorList(_Model):
    """What this service can do."""

    version: str = Field(description="Of clipn.", examples=["0.1.0"])
    detectors: list[DetectorInfo] = Field(description="The detectors: one.")
    limits: Limits = Field(description="What a request may hold.")


class Health(_Model):
    """Whether the service lives, or takes requests."""

    status: Literal["ok", "draining", "overloaded", "starting"] = Field(
        description='"ok", or why no requests should be sent here.'
    )


class FieldError(_Model):
    """What is wrong at one place of a request."""

    pointer: str = Field(
        description="The place, as a JSON pointer or the name of a form field.",
        examples=["/images/0/data"],
    )
    detail: str = Field(description="What is wrong there.")


class Problem(_Model):
    """An error, as RFC 9457 has it."""

    type: str = Field(
        description="The kind of problem, for programs: urn:clipn:problem:KIND.",
        examples=["urn:clipn:problem:queue-full"],
    )
    title: str = Field(description="The kind of problem, for people.", examples=["Queue full"])
    status: int = Field(description="The HTTP status.", examples=[503])
    detail: str = Field(description="What is wrong here, and what to do.")
    request_id: str = Field(description="As in the header X-Request-ID and in the log.")
    errors: list[FieldError] = Field([], description="Each wrong place of the request.")
