"""A Ray cluster in processes of this machine."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# What Ray's own modules do when they are imported or end is not ours to mend.
pass_over_its_warnings = [
    pytest.mark.filterwarnings(f"ignore::{category}")
    for category in (
        "DeprecationWarning",
        "FutureWarning",
        "ResourceWarning",
        "pytest.PytestUnraisableExceptionWarning",
    )
]
SURROUNDINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def start_cluster() -> Iterator[None]:
    """A cluster of two processors, as long as the block lasts."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in SURROUNDINGS.items():
            patch.setenv(name, value)
        try:
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=100 * 2**20,
            )
            yield
        finally:
            ray.shutdown()
            gc.collect()  # what Ray has left open is told of here, and not in other tests
    assert not ray.is_initialized()
