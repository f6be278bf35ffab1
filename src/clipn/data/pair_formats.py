"""Shards that are read row by row: webdataset tars, CSV and TSV files."""

import csv
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import base_plus_ext, group_by_keys

from clipn.data.pair_rows import BadPair, Pair, PairColumns, Shard, make_pair
from clipn.data.pair_shards import (
    FileShard,
    check_columns,
    file_digest,
    range_digest,
    range_name,
    row_ranges,
)
from clipn.data.tar_stream import TarMember, stream_members

__all__ = ["open_csv", "open_tar"]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
TAR_SUFFIXES = {*IMAGE_SUFFIXES, "txt", "json", "cls"}
# A compressed or sparse member of a few bytes can claim to be terabytes.
MAX_MEMBER_BYTES = 256 * 2**20
UTF8_MARK = b"\xef\xbb\xbf"


def open_tar(path: Path, *, name: str, columns: PairColumns, rows_per_shard: int) -> list[Shard]:
    """Take a webdataset tar as one shard, without reading it.

    Args:
        path: The tar; it may be compressed.
        name: The shard's name.
        columns: The .json keys of caption and class, used where there is no .txt or .cls.
        rows_per_shard: Not used: a tar cannot be entered in its middle.

    Returns:
        One shard. Image members are jpg, jpeg, png or webp; a caption is the .json's value or,
        where there is none, the .txt; a class likewise or the .cls. Nothing is ever unpickled.

    Raises:
        OSError: The file cannot be read.
    """
    digest = file_digest(path, name, columns)
    return [_TarShard(name=name, fingerprint=digest, path=path, columns=columns)]


class _TarShard(FileShard):
    def _pairs(self) -> Iterator[Pair | BadPair]:
        seen = set()
        with self.path.open("rb") as stream:
            members = self._members(stream)
            for sample in group_by_keys(members, suffixes=TAR_SUFFIXES, handler=self._log):
                key = sample["__key__"]
                if key in seen:
                    reason = "the key comes twice; the members of a pair must follow each other"
                    yield BadPair(key=key, reason=reason)
                else:
                    seen.add(key)
                    yield _sample_pair(sample, self.columns)

    def _members(self, stream: BinaryIO) -> Iterator[dict[str, Any]]:
        for member in stream_members(stream):
            name = member.header.name
            if not name.startswith("__"):
                yield {"fname": name, "data": self._content(member), "__url__": self.name}

    def _content(self, member: TarMember) -> bytes:
        _, suffix = base_plus_ext(member.header.name)
        if suffix is None or suffix.lower() not in TAR_SUFFIXES:
            return b""
        if member.header.size > MAX_MEMBER_BYTES:
            logger.warning(
                "%s: %s has %d bytes; left out", self.name, member.header.name, member.header.size
            )
            return b""
        return member.read()

    def _log(self, error: Exception) -> bool:
        logger.warning("%s: %s; the second one is left out", self.name, error.args[0])
        return True


def _sample_pair(sample: dict[str, Any], columns: PairColumns) -> Pair | BadPair:
    key = sample["__key__"]
    image = next((sample[suffix] for suffix in IMAGE_SUFFIXES if suffix in sample), None)
    try:
        row = _sample_row(sample, columns)
    except UnicodeDecodeError as error:
        return BadPair(key=key, reason=f"a text is not UTF-8: {error.reason}")
    except (ValueError, RecursionError) as error:
        return BadPair(key=key, reason=f"the .json cannot be read: {error}")
    return make_pair(key, image, row, columns=columns)


def _sample_row(sample: dict[str, Any], columns: PairColumns) -> dict[str, object]:
    row = json.loads(sample.get("json", b"{}"))
    if not isinstance(row, dict):
        raise ValueError("it is not an object")
    if "txt" in sample and not row.get(columns.caption):
        row[columns.caption] = sample["txt"].decode("utf-8-sig")
    label = columns.class_id
    if label is not None and "cls" in sample and row.get(label) is None:
        row[label] = sample["cls"].decode()
    return row


def open_csv(path: Path, *, name: str, columns: PairColumns, rows_per_shard: int) -> list[Shard]:
    """Cut a CSV or TSV file with a header into shards; it is read once to find where rows start.

    Args:
        path: UTF-8 text; tab-separated if its first line has a tab, else comma-separated.
        name: The file's name in the names of its shards.
        columns: Which columns hold what; image paths start at the file's folder.
        rows_per_shard: Rows of a shard.

    Returns:
        The shards in the order of the file.

    Raises:
        DataError: A column is not there.
        OSError: The file cannot be read.
        csv.Error: It is no CSV, or a quote stays open.
    """
    digest = file_digest(path, name, columns)
    with path.open("rb") as stream:
        if stream.read(len(UTF8_MARK)) != UTF8_MARK:
            stream.seek(0)
        start = stream.tell()
        delimiter = "\t" if b"\t" in stream.readline() else ","
        stream.seek(start)
        records = _records(stream, delimiter)
        header = next(records, [])
        check_columns(name, header, columns)
        offsets, num_rows = [stream.tell()], 0
        for num_rows, _ in enumerate(records, start=1):
            if num_rows % rows_per_shard == 0:
                offsets.append(stream.tell())
    return [
        _CsvShard(
            name=range_name(name, rows),
            fingerprint=range_digest(digest, rows),
            path=path,
            columns=columns,
            rows=rows,
            offset=offset,
            header=tuple(header),
            delimiter=delimiter,
        )
        for offset, rows in zip(offsets, row_ranges(num_rows, rows_per_shard), strict=False)
    ]


@dataclass(frozen=True, kw_only=True)
class _CsvShard(FileShard):
    rows: range
    offset: int
    header: tuple[str, ...]
    delimiter: str

    def _pairs(self) -> Iterator[Pair | BadPair]:
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            records = _records(stream, self.delimiter)
            for number in self.rows:
                record = next(records, None)
                if record is None:
                    raise EOFError(f"it ends before row {number}")
                yield self._pair(str(number), record)

    def _pair(self, key: str, record: list[str]) -> Pair | BadPair:
        if len(record) != len(self.header):
            # A comma in a caption without quotes would silently cut the caption.
            reason = f"{len(record)} fields where the header has {len(self.header)}"
            return BadPair(key=key, reason=reason)
        row = dict(zip(self.header, record, strict=True))
        image = row[self.columns.image]
        return make_pair(key, image, row, columns=self.columns, folder=self.path.parent)


def _records(stream: BinaryIO, delimiter: str) -> Iterator[list[str]]:
    # Lines are pulled one by one, so stream.tell() after a record is where the next one starts.
    lines = (line.decode("utf-8", "surrogateescape") for line in stream)
    return (record for record in csv.reader(lines, delimiter=delimiter) if record)
