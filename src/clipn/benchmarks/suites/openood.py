"""OpenOOD's list files, from which suites of ImageNet and CIFAR take their sets."""

from clipn.benchmarks.layouts import ListFile
from clipn.benchmarks.suite import SetKind, SetSpec

OPENOOD = "Zhang et al., OpenOOD v1.5: Enhanced Benchmark for Out-of-Distribution Detection, 2023"


def openood_set(
    benchmark: str,
    name: str,
    list_name: str,
    *,
    num_images: int,
    kind: SetKind,
    image_root: str = "images_classic",
) -> SetSpec:
    """A set that one of OpenOOD's list files names.

    Args:
        benchmark: OpenOOD's name of the ID set, "imagenet" or "cifar10".
        name: What tables call the set.
        list_name: What OpenOOD calls it.
        num_images: How many lines the list has.
        kind: What the set is to the suite.
        image_root: The folder that the list's paths start at.
    """
    layout = ListFile(
        list_file=f"benchmark_imglist/{benchmark}/test_{list_name}.txt", image_root=image_root
    )
    return SetSpec(
        name=name,
        kind=kind,
        layouts=(layout,),
        num_images=num_images,
        citation=OPENOOD,
        where=(
            f"Get benchmark_imglist and {image_root} with scripts/download of "
            "github.com/Jingkang50/OpenOOD and name the folder that holds them as the data root."
        ),
    )
