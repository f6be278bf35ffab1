"""What a worker does: make the output file of a partition, whichever engine asks for it."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from clipn.batch.kept_detector import as_torch, load_detector
from clipn.batch.options import BatchOptions
from clipn.batch.plan import Partition, output_name, read_plan
from clipn.batch.readers import Image, ImageReader
from clipn.batch.rows import RowFormat
from clipn.batch.store import Store
from clipn.data.image_batches import load_batches
from clipn.data.images import ImageSource, min_side_of
from clipn.errors import DataError

__all__ = ["PartitionCount", "PartitionScorer", "WorkerOptions", "read_count"]

COUNT_KEY = b"clipn"
ROWS_PER_GROUP = 8192


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker works; nothing of it changes an answer beyond rounding."""

    device: str = "cpu"
    """Where the model is: "cpu", "cuda", ..."""

    num_threads: int | None = None
    """Threads that compute, of PyTorch's or of what runs a file; None leaves its own choice."""

    num_readers: int = 2
    """Threads that read and decode images."""

    def __post_init__(self) -> None:
        for name, value in (("num_threads", self.num_threads), ("num_readers", self.num_readers)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")


@dataclass(frozen=True, kw_only=True)
class PartitionCount:
    """What became of a partition; kept in the footer of its output file."""

    partition: int
    """Its number."""

    num_in: int
    """Images that were found."""

    num_out: int
    """Rows that were written."""

    num_failed: int
    """Of them those with an error."""


class PartitionScorer:
    """Makes output files; loads the detector once.

    Args:
        output: The address of the output folder, which holds plan and detector.
        options: How to work.

    Raises:
        ClipnError: If plan or detector cannot be read.
    """

    def __init__(self, output: str, options: WorkerOptions) -> None:
        self._store = Store.open(output)
        self._plan = read_plan(self._store)
        self._options: BatchOptions = self._plan.options
        self._num_readers, self._num_in = options.num_readers, 0
        identity = self._plan.identity
        self._detector = load_detector(
            self._store, identity, device=options.device, num_threads=options.num_threads
        )
        self._kind = identity["input_kind"]
        self._reader = ImageReader(self._kind, identity["input"], self._store, self._options)
        extra = dict.fromkeys(self._options.extra_scores)
        self._format = RowFormat(
            class_names=self._detector.class_names,
            score_name=self._detector.score_name,
            extra_scores=tuple(name for name in extra if name != self._detector.score_name),
            embeddings=self._options.embeddings,
            dim=identity["embedding_dim"],
            model_fingerprint=identity["model_fingerprint"],
            detector_fingerprint=identity["detector_fingerprint"],
        )
        self._score = self._score_images
        if self._kind == "embeddings":
            self._score = self._make_rescorer()

    def __call__(self, number: int) -> PartitionCount:
        """Make the output file of a partition, unless it is there.

        Raises:
            DataError: If the input has changed.
            OSError: If files cannot be read or written; nothing is left behind then.
        """
        name = output_name(number)
        if self._store.exists(name):  # made by a worker that was lost before it could say so
            return read_count(self._store, number)
        partition = self._plan.partitions[number]
        with self._store.write_aside(name) as stream, _Writer(stream, self._format) as writer:
            self._num_in = 0
            for table in self._score(partition):
                writer.write(table)
            if self._num_in != writer.num_out or partition.num_images not in (-1, writer.num_out):
                raise DataError(
                    f"{partition.file} held {self._num_in} images of which {writer.num_out} came "
                    f"back; {partition.num_images} were planned: it has changed, or is changing."
                )
            return writer.finish(number, num_in=self._num_in)

    def _make_rescorer(self) -> Callable[[Partition], Iterator[pa.Table]]:
        """What scores kept embeddings in the place of images."""
        # Imported here because images and exported files need no torch.
        from clipn.batch.rescoring import Rescorer

        rescore = Rescorer(as_torch(self._detector), self._options, self._format)

        def score(partition: Partition) -> Iterator[pa.Table]:
            """The rows of a partition, some at a time."""
            self._num_in = partition.num_images
            groups = range(partition.first, partition.stop)
            return rescore(self._reader.fs, f"{self._reader.root}/{partition.file}", groups)

        return score

    def _score_images(self, partition: Partition) -> Iterator[pa.Table]:
        """The rows of a partition, some at a time."""
        keys: deque[str] = deque()
        detector, options = self._detector, self._options
        batches = load_batches(
            self._note_keys(self._reader.read(partition), keys),
            detector.preprocess,
            batch_size=options.batch_size,
            num_workers=self._num_readers,
            min_side=min_side_of(detector.decoding, size=detector.image_size),
        )
        for batch in batches:
            judgement = p_values = None
            if batch.pixels is not None:
                judgement = detector.judge_pixels(
                    batch.pixels, extra_scores=options.extra_scores, top_k=options.top_k
                )
                p_values = detector.p_values_of(judgement)
            names = [keys.popleft() for _ in batch.names]
            yield self._format.make_table(names, batch.errors, judgement, p_values)

    def _note_keys(self, images: Iterator[Image], keys: deque[str]) -> Iterator[ImageSource]:
        """The images alone; their keys wait for the batch that they come back in."""
        for key, image in images:
            self._num_in += 1
            keys.append(key)
            yield image  # pyright: ignore[reportReturnType] - or what fetches it


class _Writer:
    """Gathers rows into large row groups and counts them."""

    def __init__(self, stream: object, row_format: RowFormat) -> None:
        self._schema = row_format.schema
        self._writer = pq.ParquetWriter(stream, self._schema, write_page_checksum=True)
        self._held: list[pa.Table] = []
        self._num_held = self.num_out = self._num_failed = 0

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._held.append(table)
        self._num_held += len(table)
        self.num_out += len(table)
        self._num_failed += len(table) - table.column("error").null_count
        if self._num_held >= ROWS_PER_GROUP:
            self._flush()

    def finish(self, number: int, *, num_in: int) -> PartitionCount:
        """Write what is held, and the counts into the footer."""
        self._flush()
        count = PartitionCount(
            partition=number,
            num_in=num_in,
            num_out=self.num_out,
            num_failed=self._num_failed,
        )
        self._writer.add_key_value_metadata({COUNT_KEY: json.dumps(asdict(count))})
        return count

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
        self._held, self._num_held = [], 0


def read_count(store: Store, number: int) -> PartitionCount:
    """What became of a partition whose output file is there.

    Raises:
        DataError: If the file is damaged.
    """
    path = store.path(output_name(number))
    try:
        with store.fs.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
            count = PartitionCount(**json.loads(file.metadata.metadata[COUNT_KEY]))
            num_rows = file.metadata.num_rows
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Delete it, and it is made again."
        ) from error
    if num_rows != count.num_out or count.partition != number:
        raise DataError(f"{path} holds other rows than it says: delete it, and it is made again.")
    return count
