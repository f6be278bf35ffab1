"""A batch run from plan to manifest; one that was killed goes on where it stopped."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from clipn.batch.engines import Engine, LocalEngine
from clipn.batch.inputs import PLAN, InputFiles, find_input
from clipn.batch.kept_detector import DETECTOR, identify, save_detector
from clipn.batch.options import BatchOptions, Existing
from clipn.batch.plan import (
    NUM_FOOTER_THREADS,
    Plan,
    cut_input,
    output_name,
    read_plan,
    write_plan,
)
from clipn.batch.progress import Progress, Tally
from clipn.batch.scorer import read_count
from clipn.batch.store import Store
from clipn.calibration import threshold_to_json
from clipn.errors import DataError, ModelError
from clipn.files import ASIDES
from clipn.image_detector import ImageDetector

__all__ = ["Manifest", "score_images"]

MANIFEST = "_clipn/manifest.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a finished run says of itself."""

    num_in: int
    """Images found in the input."""

    num_out: int
    """Rows in the output: as many."""

    num_failed: int
    """Rows with an error."""

    num_partitions: int
    """Output files."""

    seconds: float
    """How long the last start took; a run that was interrupted took longer."""


def score_images(
    source: str | Path,
    output: str | Path,
    detector: ImageDetector,
    *,
    options: BatchOptions | None = None,
    engine: Engine | None = None,
    existing: Existing = "continue",
    on_progress: Callable[[Progress], None] | None = None,
) -> Manifest:
    """Answer for all images of an input, into a folder of Parquet files.

    Every image becomes one row, whatever happens on the way: output files are made whole or not at
    all, and a run that was killed goes on with those that are missing.

    Args:
        source: See `clipn.batch.find_input`; with the output folder of a run that kept embeddings,
            these are scored anew and no image is read.
        output: A folder, here or at any address of fsspec's. An input file must not change before
            the run is done.
        detector: A `Detector` or an `OnnxDetector`; it must have a rule or a threshold.
        options: What the rows depend on.
        engine: Who does it: this process by default.
        existing: What to do about a run that the folder holds already. "continue" refuses one of
            another input, other options or another detector; "replace" deletes it first.
        on_progress: Called after each partition.

    Returns:
        The counts.

    Raises:
        DataError: If the input cannot be read or has changed, or the folder holds another run.
        ModelError: If the embeddings in the input are of another image tower, or such as no
            detector could score are to be kept.
        NotCalibratedError: If nothing decides yet.
        ValueError: If an option is wrong.
    """
    if existing not in get_args(Existing):
        raise ValueError(f"existing must be one of {get_args(Existing)}; got {existing!r}.")
    options, store, began = options or BatchOptions(), Store.open(output), time.monotonic()
    # Both say here what would end every worker.
    detector.decided_rule()
    detector.check_scores(options.extra_scores)
    plan = _prepare(store, source, detector, options, existing)
    tally = Tally(plan, on_progress)
    there = set(store.names("part-*.parquet"))
    numbers = range(len(plan.partitions))
    former = [number for number in numbers if output_name(number) in there]
    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as threads:
        for count in threads.map(partial(read_count, store), former):
            tally.add(count, is_new=False)
    if missing := [number for number in numbers if output_name(number) not in there]:
        for count in (engine or LocalEngine()).run(store.address, missing):
            tally.add(count, is_new=True)
    return _finish(store, plan, tally, seconds=time.monotonic() - began)


def _prepare(
    store: Store,
    source: str | Path,
    detector: ImageDetector,
    options: BatchOptions,
    existing: Existing,
) -> Plan:
    """The plan in the output folder, or a new one."""
    files = find_input(source, options.input_kind)
    if files.address == store.address:
        raise ValueError(f"Input and output are both '{store.address}': name another folder.")
    precision = options.precision if files.kind == "embeddings" else "exact"
    options = replace(options, input_kind=files.kind, precision=precision)
    identity = _identify(files, detector, options)
    _check_embeddings(files, identity, options)
    if store.exists(PLAN):
        if existing == "refuse":
            raise DataError(
                f"'{store.address}' holds a run already: go on with it (existing='continue'), "
                "start over (existing='replace'), or name another folder."
            )
        if existing == "continue":
            _check_identity(store, identity)
            return read_plan(store)
        _clear(store)
    elif store.names("part-*.parquet"):
        raise DataError(
            f"'{store.address}' holds part files of something else, and no plan ({PLAN}): name "
            "another folder."
        )
    plan = Plan(identity=identity, partitions=cut_input(files, options))
    if not plan.partitions:
        raise DataError(f"'{source}' holds no image.")
    save_detector(store, detector)
    write_plan(store, plan, files)
    return plan


def _identify(files: InputFiles, detector: ImageDetector, options: BatchOptions) -> dict[str, Any]:
    """What makes another run of it, as plain JSON."""
    return {
        "input": files.address,
        "input_kind": files.kind,
        "input_fingerprint": files.fingerprint,
        "options": {**asdict(options), "extra_scores": list(options.extra_scores)},
        "score": detector.score_name,
        "rule": detector.rule,
        "threshold": threshold_to_json(detector.threshold),
        "decoding": detector.decoding,
        "num_classes": len(detector.class_names),
        **identify(detector),
    }


def _check_identity(store: Store, identity: dict[str, Any]) -> None:
    """Refuse to go on with a run of something else, or a plan that is damaged."""
    former = store.read_json(PLAN)
    former.pop("format_version", None)
    if former == identity:
        return
    flat, flat_former = ({**values, **values.get("options", {})} for values in (identity, former))
    differences = [
        f"{key} {flat_former.get(key)!r} then, {value!r} now"
        for key, value in flat.items()
        if key != "options" and flat_former.get(key) != value
    ]
    raise DataError(
        f"'{store.address}' holds a run of something else: "
        f"{'; '.join(differences) or 'its plan has entries that are unknown'}. Go on with what it "
        "was started with, start over (existing='replace'), or name another folder."
    )


def _clear(store: Store) -> None:
    """Delete what a run has made."""
    for pattern in ("part-*.parquet", *ASIDES):
        for name in store.names(pattern):
            store.fs.rm_file(store.path(name))
    store.fs.rm(store.path("_clipn"), recursive=True)


def _check_embeddings(files: InputFiles, identity: dict[str, Any], options: BatchOptions) -> None:
    """Refuse embeddings that are not all there, or not of the detector's image tower."""
    own = identity["image_fingerprint"]
    if files.kind != "embeddings":
        if options.embeddings != "none" and own is None:
            raise ModelError(
                "The embeddings of a file in int8 are not its model's, so that no detector could "
                "score them anew: export it in float32, or keep none."
            )
        return
    source = Store(fs=files.fs, root=files.root)
    if not source.exists(MANIFEST):
        raise DataError(f"The run in '{files.address}' is not finished: start it again first.")
    num_parts = source.read_json(MANIFEST).get("num_partitions")
    if num_parts != len(files.names):
        raise DataError(
            f"'{files.address}' holds {len(files.names)} part files, but {num_parts} were written: "
            "put back what is missing, or make it anew."
        )
    if options.embeddings != "none":
        raise ValueError("embeddings must be 'none' where kept embeddings are scored anew.")
    if identity["runtime"] != "torch":
        raise ModelError(
            "An exported file answers for images only: score kept embeddings with the model or the "
            "detector folder that it was made from."
        )
    kept = source.read_json(PLAN).get("image_fingerprint")
    if kept != own:
        raise ModelError(
            f"The embeddings in '{files.address}' are of the image tower {kept}, the detector's is "
            f"{own}: score them with a detector of the same image tower."
        )


def _finish(store: Store, plan: Plan, tally: Tally, *, seconds: float) -> Manifest:
    """Check that all is there once, and write the counts."""
    names = store.names("part-*.parquet")
    if names != [output_name(number) for number in range(len(plan.partitions))]:
        raise DataError(
            f"'{store.address}' holds {len(names)} part files, but {len(plan.partitions)} were "
            "planned: does another program write or delete there?"
        )
    manifest = Manifest(
        num_in=tally.num_in,
        num_out=tally.num_out,
        num_failed=tally.num_failed,
        num_partitions=tally.num_done,
        seconds=round(seconds, 3),
    )
    # What was left by workers and drivers that were killed.
    for folder in ("", "_clipn/", f"{DETECTOR}/", f"{DETECTOR}/model/", f"{DETECTOR}/classes/"):
        for pattern in ASIDES:
            for name in store.names(pattern, folder=folder):
                store.fs.rm_file(store.path(name))
    if not store.exists(MANIFEST):
        store.write_json(
            MANIFEST,
            {
                "format_version": MANIFEST_VERSION,
                **asdict(manifest),
                "clipn_version": version("clipn"),
                **plan.identity,
            },
        )
    return manifest
