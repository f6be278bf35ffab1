"""What int8 costs: AUROC of the compact suites with an image tower in float32 and in int8.

    python benchmarks/int8_quality.py --data-dir ../shared/data

Calibrated with images that the compact model was taught with, never with those of a suite. Exits
with 1 if an AUROC of ctw or atd is more than 0.3 points below that in float32.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from clipn.benchmarks import EvaluationOptions, evaluate
from clipn.detector import Detector
from clipn.export.runtime import Runtime, Session, open_session
from clipn.export.writing import export_detector
from clipn.model import CLIPN, load_model

SUITES = ("compact-cifar10", "compact-tiny")
SCORES = ("ctw", "atd", "msp", "max_logit", "energy", "mcm")
TRAINING = ("cifar10_train", "tiny_imagenet_train")
MAX_LOSS = 0.3  # points of AUROC, of the mean over a suite's OOD sets


class ExportedTower(nn.Module):
    """An exported file in the place of a model's image tower."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed images."""
        return torch.from_numpy(self._session.run({"image": pixels.numpy()})["embedding"])


def training_images(data_dir: Path, count: int) -> Iterator[bytes]:
    """Encoded images of the compact model's training sets, drawn with seed 0."""
    for name in TRAINING:
        table = pq.read_table(data_dir / f"{name}.parquet", columns=["image"])
        rows = np.random.default_rng(0).choice(len(table), count // len(TRAINING), replace=False)
        for image in table.column("image").take(np.sort(rows)).to_pylist():
            yield image["bytes"] if isinstance(image, dict) else image


def measure(model: CLIPN, suite: str, data_dir: Path, out_dir: Path) -> dict[str, float]:
    """AUROC by score, in percent, mean over the suite's OOD sets."""
    options = EvaluationOptions(existing="replace", num_resamples=0, batch_size=250)
    evaluation = evaluate(
        model, suite, data_root=data_dir, out_dir=out_dir, scores=SCORES, options=options
    )
    return {result.score: 100 * result.averages["all"]["auroc"] for result in evaluation.results}


def main() -> int:
    """Export, measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="the suites' Parquet files")
    parser.add_argument("--num-images", type=int, default=256, help="to calibrate with")
    parser.add_argument("--runtime", choices=("onnx", "openvino"), default="onnx")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return compare(arguments.data_dir, Path(folder), arguments.num_images, arguments.runtime)


def compare(data_dir: Path, folder: Path, num_images: int, runtime: Runtime) -> int:
    """Print a table a suite; returns 1 if int8 costs too much."""
    model = load_model("compact")
    detector = Detector(model, ["cat", "dog"])
    files = {name: folder / f"{name}.onnx" for name in ("float32", "int8")}
    export_detector(detector, files["float32"])
    images = training_images(data_dir, num_images)
    exported = export_detector(detector, files["int8"], precision="int8", calibration_images=images)
    sizes = ", ".join(f"{name} {path.stat().st_size / 1e6:.1f} MB" for name, path in files.items())
    print(f"compact model: {sizes}; calibrated with {num_images} images; {runtime}")
    print(f"mean cosine of int8 embeddings to float32: {exported.agreement:.4f}")
    worst = 0.0
    for suite in SUITES:
        exact = measure(model, suite, data_dir, folder / "float32")
        quantized_model = load_model("compact")
        quantized_model.visual = ExportedTower(open_session(files["int8"], runtime=runtime))
        quantized = measure(quantized_model, suite, data_dir, folder / "int8")
        print(f"\n{suite}: AUROC, %\n{'score':<10} float32   int8  difference")
        for score in SCORES:
            difference = quantized[score] - exact[score]
            print(f"{score:<10} {exact[score]:7.2f} {quantized[score]:6.2f} {difference:+11.2f}")
            worst = min(worst, difference)
    print(f"\nlargest loss: {-worst:.2f} points; {MAX_LOSS} are allowed")
    return 1 if -worst > MAX_LOSS else 0


if __name__ == "__main__":
    raise SystemExit(main())
