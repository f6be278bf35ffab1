"""A batch run in two processes, which says when a partition is done; run, and killed, by a test.

python two_processes.py IN OUT DETECTOR
"""

import sys

from clipn import Detector
from clipn.batch import BatchOptions, LocalEngine, WorkerOptions, score_images


def main() -> None:
    """Run."""

    def tell(*_: object) -> None:
        sys.stdout.write("a partition is done\n")
        sys.stdout.flush()

    source, output, detector = sys.argv[1:]
    score_images(
        source,
        output,
        Detector.load(detector),
        options=BatchOptions(rows_per_partition=6, batch_size=4, top_k=2),
        engine=LocalEngine(num_processes=2, worker=WorkerOptions(num_threads=1)),
        on_progress=tell,
    )


if __name__ == "__main__":
    main()
