"""Scoring of collections that outgrow a list: to Parquet, exactly once, on one machine or many."""

from clipn.batch.engines import Engine, LocalEngine
from clipn.batch.inputs import InputFiles, find_input
from clipn.batch.options import BatchOptions, Existing, InputKind, KeptEmbeddings
from clipn.batch.progress import Progress
from clipn.batch.run import Manifest, score_images
from clipn.batch.scorer import WorkerOptions

__all__ = [
    "BatchOptions",
    "Engine",
    "Existing",
    "InputFiles",
    "InputKind",
    "KeptEmbeddings",
    "LocalEngine",
    "Manifest",
    "Progress",
    "WorkerOptions",
    "find_input",
    "score_images",
]
