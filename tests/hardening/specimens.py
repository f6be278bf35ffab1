"""Whole files of every kind that clipn reads, small enough to be damaged thousands of times."""

import csv
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

SIZE = (44, 36)


def draw_picture(mode: str = "RGB", *, shift: int = 0) -> Image.Image:
    """A gradient with shapes on it, in a mode of Pillow's."""
    picture = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    drawing = ImageDraw.Draw(picture)
    drawing.ellipse((4 + shift, 4, 24 + shift, 24), fill=(200, 40, 60))
    drawing.rectangle((26, 10, 40, 30 - shift), fill=(20, 120, 220))
    if mode == "I;16":
        values = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(values)
    if mode == "F":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32) / 255)
    if mode == "RGBA":
        picture.putalpha(picture.convert("L"))
        return picture
    if mode == "P":
        return picture.quantize(16)
    return picture.convert(mode)


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file of a format of Pillow's."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def make_images() -> dict[str, bytes]:
    """Files of every common format: animated, 16 bit, CMYK, palette, turned by EXIF."""
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = {"save_all": True, "append_images": [draw_picture(shift=4), draw_picture(shift=8)]}
    rgb = draw_picture()
    return {
        "jpeg": encode(rgb, "JPEG", quality=90),
        "jpeg-progressive": encode(rgb, "JPEG", progressive=True, optimize=True),
        "jpeg-grey": encode(draw_picture("L"), "JPEG"),
        "jpeg-cmyk": encode(draw_picture("CMYK"), "JPEG"),
        "jpeg-turned": encode(rgb, "JPEG", exif=turned),
        "png": encode(rgb, "PNG", pnginfo=None),
        "png-rgba": encode(draw_picture("RGBA"), "PNG"),
        "png-16-bit": encode(draw_picture("I;16"), "PNG"),
        "png-palette": encode(draw_picture("P"), "PNG", transparency=3),
        "png-bits": encode(draw_picture("1"), "PNG"),
        "png-animated": encode(rgb, "PNG", **frames),
        "png-turned": encode(rgb, "PNG", exif=turned),
        "gif": encode(draw_picture("P"), "GIF"),
        "gif-animated": encode(rgb, "GIF", **frames),
        "webp": encode(rgb, "WEBP", quality=80),
        "webp-lossless": encode(draw_picture("RGBA"), "WEBP", lossless=True),
        "webp-animated": encode(rgb, "WEBP", **frames),
        "bmp": encode(rgb, "BMP"),
        "bmp-palette": encode(draw_picture("P"), "BMP"),
        "tiff": encode(rgb, "TIFF"),
        "tiff-lzw": encode(rgb, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encode(draw_picture("RGBA"), "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": encode(rgb, "TIFF", compression="jpeg"),
        "tiff-16-bit": encode(draw_picture("I;16"), "TIFF"),
        "tiff-float": encode(draw_picture("F"), "TIFF"),
        "tiff-cmyk": encode(draw_picture("CMYK"), "TIFF"),
        "tiff-pages": encode(rgb, "TIFF", **frames),
        "ppm": encode(rgb, "PPM"),
        "jpeg-2000": encode(rgb, "JPEG2000"),
        "avif": encode(rgb, "AVIF"),
        "qoi": encode(rgb, "QOI"),
    }


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar of regular members."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def make_pairs(number: int = 6) -> list[tuple[bytes, str, int]]:
    """Image, caption and class of some pairs."""
    pictures = [encode(draw_picture(shift=shift), "JPEG") for shift in range(number)]
    return [(picture, f"a picture of thing {n}", n % 3) for n, picture in enumerate(pictures)]


def write_pair_tar(folder: Path) -> Path:
    """Pairs as webdataset packs them."""
    members = {}
    for number, (image, caption, label) in enumerate(make_pairs()):
        members[f"{number:04d}.jpg"] = image
        members[f"{number:04d}.txt"] = caption.encode()
        members[f"{number:04d}.cls"] = str(label).encode()
        members[f"{number:04d}.json"] = json.dumps({"width": 44}).encode()
    return write_tar(folder / "pairs.tar", members)


def write_pair_csv(folder: Path) -> Path:
    """Pairs as a CSV file beside its images."""
    (folder / "images").mkdir(exist_ok=True)
    rows: list[list[object]] = [["image", "caption", "label"]]
    for number, (image, caption, label) in enumerate(make_pairs()):
        (folder / "images" / f"{number}.jpg").write_bytes(image)
        rows.append([f"images/{number}.jpg", f'{caption}, "so to say"', label])
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "pairs.csv"


def write_pair_parquet(folder: Path) -> Path:
    """Pairs as Hugging Face publishes them."""
    rows = [
        {"image": {"bytes": image, "path": None}, "caption": caption, "label": label}
        for image, caption, label in make_pairs()
    ]
    pd.DataFrame(rows).to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet"
