"""multipart/form-data, read piece by piece within limits, in memory only."""

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clipn.serving.problems import ProblemError
from clipn.serving.schemas import FieldError

__all__ = ["IMAGE_FIELD", "Form", "read_form"]

IMAGE_FIELD = "images"
MAX_HEADER_BYTES = 8192  # of one part; browsers send some 200


class Form:
    """A form that is filled while it comes in.

    Args:
        max_images: Parts that are images.
        max_image_bytes: Bytes of one of them.
        max_fields: Other parts.
        max_field_bytes: Bytes of one of them.

    Attributes:
        images: The file names and files of the parts called "images".
        fields: The other parts, by name, as text.
    """

    def __init__(
        self, *, max_images: int, max_image_bytes: int, max_fields: int, max_field_bytes: int
    ) -> None:
        self.images: list[tuple[str, bytes]] = []
        self.fields: dict[str, list[str]] = {}
        self._max_images, self._max_image_bytes = max_images, max_image_bytes
        self._max_fields, self._max_field_bytes = max_fields, max_field_bytes
        self._num_fields, self._is_ended = 0, False
        self._header, self._value = bytearray(), bytearray()
        self._disposition, self._part = b"", bytearray()
        self._name, self._file_name, self._header_bytes = "", "", 0

    def parser(self, boundary: bytes) -> MultipartParser:
        """What fills this form."""
        return MultipartParser(
            boundary,
            callbacks={
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_field,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def check_end(self) -> None:
        """Make sure that nothing is missing.

        Raises:
            ProblemError: If the form broke off.
        """
        if not self._is_ended:
            raise ProblemError("bad-request", "The form ends before its last boundary.")

    def _begin_part(self) -> None:
        self._header_bytes, self._disposition, self._part = 0, b"", bytearray()
        self._header, self._value = bytearray(), bytearray()

    def _count_header(self, num_bytes: int) -> None:
        self._header_bytes += num_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ProblemError("bad-request", "The headers of a part of the form are too long.")

    def _add_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _decode(options.get(b"name", b""))
        self._file_name = _decode(options.get(b"filename", b""))
        if self._name != IMAGE_FIELD:
            self._num_fields += 1
            if self._num_fields > self._max_fields:
                raise ProblemError(
                    "invalid-request", f"A form may have {self._max_fields} fields beside images."
                )
        elif b"filename" not in options:
            raise ProblemError(
                "invalid-request",
                "An image must be sent as a file, with a file name.",
                errors=[FieldError(pointer=f"/{IMAGE_FIELD}", detail="It is no file.")],
            )
        elif len(self.images) >= self._max_images:
            raise ProblemError(
                "too-many-images", f"A request may have at most {self._max_images} images."
            )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        size = len(self._part) + end - start
        if self._name == IMAGE_FIELD and size > self._max_image_bytes:
            raise ProblemError(
                "image-too-large", f"An image may have at most {self._max_image_bytes} bytes."
            )
        if self._name != IMAGE_FIELD and size > self._max_field_bytes:
            raise ProblemError(
                "invalid-request",
                f"The field {self._name!r} may have at most {self._max_field_bytes} bytes.",
            )
        self._part += data[start:end]

    def _end_part(self) -> None:
        if self._name == IMAGE_FIELD:
            self.images.append((self._file_name, bytes(self._part)))
        else:
            self.fields.setdefault(self._name, []).append(_decode(bytes(self._part)))

    def _end(self) -> None:
        self._is_ended = True


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProblemError("bad-request", "The texts of a form must be UTF-8.") from error


async def read_form(body: AsyncIterator[bytes], form: Form, *, content_type: str) -> None:
    """Fill a form.

    Args:
        body: Piece by piece.
        form: Gets its parts.
        content_type: The header of the request, with the boundary.

    Raises:
        ProblemError: If the form is damaged or exceeds its limits.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise ProblemError("bad-request", "The Content-Type of the form names no boundary.")
    try:
        parser = form.parser(boundary)
        async for piece in body:
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError("bad-request", f"The form is damaged: {error}") from error
    form.check_end()
