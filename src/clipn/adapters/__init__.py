"""clipn in the shape of other libraries: each adapter is small, and needs the library it is for.

    from clipn.adapters import EmbeddingOutlierDetector  # scikit-learn
    from clipn.adapters import PytorchOodDetector  # pytorch-ood
    from clipn.adapters import OpenOodPostprocessor  # OpenOOD
    from clipn.adapters import Auroc, FprAtTpr  # torchmetrics
    from clipn.adapters import ZeroShotImagePipeline  # called like transformers' pipeline

`pip install "clipn[adapters]"` brings the libraries, but OpenOOD, which is on no package index.
"""

from typing import TYPE_CHECKING, Any

from clipn.extras import import_extra

if TYPE_CHECKING:
    from clipn.adapters.image_pipeline import ZeroShotImagePipeline
    from clipn.adapters.metric import Auroc, FprAtTpr
    from clipn.adapters.openood import OpenOodPostprocessor
    from clipn.adapters.outlier_detector import EmbeddingOutlierDetector
    from clipn.adapters.pytorch_ood_detector import PytorchOodDetector

__all__ = [
    "Auroc",
    "EmbeddingOutlierDetector",
    "FprAtTpr",
    "OpenOodPostprocessor",
    "PytorchOodDetector",
    "ZeroShotImagePipeline",
]

_HOMES = {
    "Auroc": "metric",
    "EmbeddingOutlierDetector": "outlier_detector",
    "FprAtTpr": "metric",
    "OpenOodPostprocessor": "openood",
    "PytorchOodDetector": "pytorch_ood_detector",
    "ZeroShotImagePipeline": "image_pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clipn.adapters' has no attribute {name!r}")
    return getattr(import_extra(f"clipn.adapters.{_HOMES[name]}", extra="adapters"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
