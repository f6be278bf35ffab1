"""The form that all images of a suite are brought to, so that content alone tells them apart."""

import io
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class NativeForm:
    """The size and compression of a suite's own images.

    Where the sets of a suite come at several resolutions, blur alone tells them apart. So do the
    traces of compression: JPEG leaves blocks of 8 x 8 pixels, which images lose that are made
    smaller, and small images compressed at their own size keep.

    Attributes:
        size: Height and width in pixels; images of another size are resized to it.
        jpeg_quality: What is resized is then compressed at this quality, as the suite's own images
            were; None leaves it as it is.

    Raises:
        ValueError: If the size is below 1, or the quality no JPEG quality.

    Example:
        >>> NativeForm(size=32, jpeg_quality=75).bring(Image.new("RGB", (64, 48))).size
        (32, 32)
    """

    size: int
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1; got {self.size}.")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must lie in [1, 95]; got {self.jpeg_quality}.")

    def bring(self, image: Image.Image) -> Image.Image:
        """The image in this form; as it is where it has the size."""
        if image.size == (self.size, self.size):
            return image
        resized = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        if self.jpeg_quality is None:
            return resized
        buffer = io.BytesIO()
        resized.convert("RGB").save(buffer, format="JPEG", quality=self.jpeg_quality)
        return Image.open(buffer).convert("RGB")
