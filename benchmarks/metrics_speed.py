"""AUROC and FPR95 of many scores: scikit-learn's time and memory, and ours.

    python benchmarks/metrics_speed.py [--num-scores 10000000] [--repeats 3]

Half of the scores are ID. scikit-learn is given labels and scores ready in one array, and called
twice: `roc_auc_score`, and `roc_curve` with every threshold for FPR95. Ours is `summarise`, which
gives four more figures, and the pair `auroc` and `fpr_at_tpr`. All of it runs in one thread, so
processor time is taken, which other programs disturb least. The ways take turns; the time of each
is the median of its turns, the memory the peak that it allocates beyond its arguments, measured in
a turn of its own.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from sklearn import metrics as sklearn_metrics

from clipn.metrics import auroc, fpr_at_tpr, summarise

Way = Callable[[], tuple[float, float]]
TPR = 0.95


def ways_to_measure(inside: np.ndarray, outside: np.ndarray) -> dict[str, Way]:
    """Each gives AUROC and FPR95 of the same scores."""
    labels = np.repeat([1, 0], [inside.size, outside.size])
    scores = np.concatenate([inside, outside])

    def scikit_learn() -> tuple[float, float]:
        area = sklearn_metrics.roc_auc_score(labels, scores)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
        return float(area), float(fpr[np.argmax(tpr >= TPR)])

    def summary() -> tuple[float, float]:
        figures = summarise(inside, outside)
        return figures.auroc, figures.fpr95

    def pair() -> tuple[float, float]:
        return auroc(inside, outside), fpr_at_tpr(inside, outside, tpr=TPR)

    return {"scikit-learn": scikit_learn, "summarise": summary, "auroc, fpr_at_tpr": pair}


def peak_mebibytes(way: Way) -> float:
    """The most that it holds at a time."""
    tracemalloc.start()
    way()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    """Time the ways in turn for each dtype and print their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-scores", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    num_id = args.num_scores // 2
    generator = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        inside = generator.normal(1.5, 1.0, num_id).astype(dtype)
        outside = generator.normal(0.0, 1.0, args.num_scores - num_id).astype(dtype)
        ways = ways_to_measure(inside, outside)
        times: dict[str, list[float]] = {name: [] for name in ways}
        results = {}
        for _ in range(args.repeats):
            for name, way in ways.items():
                start = time.process_time()
                results[name] = way()
                times[name].append(time.process_time() - start)
        reference = statistics.median(times["scikit-learn"])
        print(
            f"{inside.size} ID and {outside.size} OOD scores, {np.dtype(dtype)}, 1 thread, "
            f"median of {args.repeats}",
            flush=True,
        )
        for name, way in ways.items():
            seconds = statistics.median(times[name])
            gaps = np.abs(np.subtract(results[name], results["scikit-learn"]))
            print(
                f"{name:18} {seconds:8.3f} s   ratio {reference / seconds:6.2f}   "
                f"peak {peak_mebibytes(way):6.0f} MiB   AUROC off by {gaps[0]:.0e}, "
                f"FPR95 by {gaps[1]:.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
