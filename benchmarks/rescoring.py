"""How long it takes to score kept embeddings with other classes, no image being read.

    python benchmarks/rescoring.py
    python benchmarks/rescoring.py --num-files 2 --num-classes 100

Random embeddings around 1,000 classes of width 512 are written as `clipn batch --embeddings` writes
them (files of 50,000, copies of one), and scored by as many processes as there are processors, one
thread each, from file to file: reading, scores, decision, the five best classes, writing. Prints
the seconds of each run, and how far scores are from those in float64.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from clipn.batch import KeptEmbeddings, LocalEngine, WorkerOptions, score_images
from clipn.batch.rows import RowFormat
from clipn.detector import Detector
from clipn.model import CLIPN, build_base

DIM = 512
IMAGES_PER_FILE, ROWS_AT_ONCE = 50_000, 5_000
ARCHITECTURE = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


def build_detector(folder: Path, num_classes: int) -> Detector:
    """A detector of random weights whose classes are spread as those of a CLIP are, at tau 100."""
    torch.manual_seed(0)
    model = CLIPN(build_base(ARCHITECTURE, name="random"))
    model.add_no_tower()
    with torch.no_grad():
        model.logit_scale.fill_(np.log(100))
    detector = Detector(model, [f"class {number}" for number in range(num_classes)])
    yes = F.normalize(torch.randn(num_classes, DIM), dim=-1)
    detector.bank.yes.copy_(yes)
    detector.bank.no.copy_(
        F.normalize(yes + 0.5 * torch.randn(num_classes, DIM) / DIM**0.5, dim=-1)
    )
    detector.save(folder)
    return Detector.load(folder)


def write_kept(
    folder: Path, detector: Detector, num_files: int, embeddings: KeptEmbeddings
) -> None:
    """What a finished run with kept embeddings leaves, as far as scoring them anew reads it."""
    generator = torch.Generator().manual_seed(1)
    row_format = RowFormat(
        class_names=detector.class_names,
        score_name=detector.score_name,
        extra_scores=(),
        embeddings=embeddings,
        dim=DIM,
        model_fingerprint="",
        detector_fingerprint="",
    )
    judge = detector.judge()
    (folder / "_clipn").mkdir(parents=True)
    first = folder / "part-00000000.parquet"
    with pq.ParquetWriter(first, row_format.schema) as writer:
        for start in range(0, IMAGES_PER_FILE, ROWS_AT_ONCE):
            labels = torch.randint(len(detector.class_names), (ROWS_AT_ONCE,), generator=generator)
            noise = F.normalize(torch.randn(ROWS_AT_ONCE, DIM, generator=generator), dim=-1)
            images = F.normalize(detector.bank.yes[labels] + 2.0 * noise, dim=-1)
            names = [f"{start + row}.jpg" for row in range(ROWS_AT_ONCE)]
            judgement = judge(images, rule="atd", top_k=1)
            writer.write_table(row_format.make_table(names, {}, judgement))
    for number in range(1, num_files):
        shutil.copy(first, folder / f"part-{number:08d}.parquet")
    plan = {"image_fingerprint": detector.model.fingerprint("image")}
    (folder / "_clipn/plan.json").write_text(json.dumps(plan))
    (folder / "_clipn/manifest.json").write_text("{}")


def processor_seconds() -> float:
    """What processes that have ended have used; on a busy machine they take longer than that."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_column(folder: Path, column: str) -> np.ndarray:
    """A column of all rows."""
    parts = sorted(folder.glob("part-*"))
    return pa.concat_tables([pq.read_table(p, columns=[column]) for p in parts])[column].to_numpy()


def main() -> None:
    """Write embeddings, score them, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-files", type=int, default=20, help="of 50,000 embeddings each")
    parser.add_argument("--num-classes", type=int, default=1_000)
    parser.add_argument("--embeddings", choices=("float16", "float32"), default="float16")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        detector = build_detector(folder / "detector", args.num_classes)
        write_kept(folder / "kept", detector, args.num_files, args.embeddings)
        size = sum(path.stat().st_size for path in (folder / "kept").glob("part-*"))
        print(
            f"{args.num_files * IMAGES_PER_FILE} images x {args.num_classes} classes, width {DIM}, "
            f"{args.embeddings} ({size / 2**20:.0f} MiB), {args.processes} processes of one thread"
        )
        engine = LocalEngine(num_processes=args.processes, worker=WorkerOptions(num_threads=1))
        for repeat in range(args.repeats):
            began, used = time.perf_counter(), processor_seconds()
            score_images(
                folder / "kept", folder / "fast", detector, engine=engine, existing="replace"
            )
            print(
                f"run {repeat + 1}: {time.perf_counter() - began:.1f} s from file to file, "
                f"{processor_seconds() - used:.1f} s of processors"
            )
        # The rows were first scored in float64, from embeddings in float32.
        fast, exact = (read_column(folder / name, "score") for name in ("fast", "kept"))
        decided = (read_column(folder / name, "is_ood") for name in ("fast", "kept"))
        print(
            f"against float64: scores differ by {np.abs(fast - exact).max():.1e} at most, "
            f"{np.abs(fast - exact).mean():.1e} on average; {np.not_equal(*decided).sum()} "
            "decisions differ"
        )


if __name__ == "__main__":
    main()
