"""Every suite by its name; the suites themselves are data, a file each family."""

from clipn.benchmarks.suite import Suite
from clipn.benchmarks.suites.cifar import CIFAR_SUITES
from clipn.benchmarks.suites.compact import COMPACT_SUITES
from clipn.benchmarks.suites.imagenet import IMAGENET_SUITES
from clipn.benchmarks.suites.open_domain import DIGITS_SUITES, OFFICEHOME_SUITES, PACS_SUITES

__all__ = ["SUITES", "SUITE_GROUPS", "get_suite", "get_suites"]

SUITE_GROUPS = {
    name: tuple(suite.name for suite in suites)
    for name, suites in (
        ("officehome-open", OFFICEHOME_SUITES),
        ("digits-dg-open", DIGITS_SUITES),
        ("pacs-open", PACS_SUITES),
    )
}
"""Suites that are published as one: the mean over a data set's domains, each left out once."""

SUITES = {
    suite.name: suite
    for suites in (
        IMAGENET_SUITES,
        CIFAR_SUITES,
        OFFICEHOME_SUITES,
        DIGITS_SUITES,
        PACS_SUITES,
        COMPACT_SUITES,
    )
    for suite in suites
}


def get_suite(name: str) -> Suite:
    """Look a suite up.

    Raises:
        ValueError: If there is no suite of that name.

    Example:
        >>> [spec.name for spec in get_suite("imagenet-mos").ood_sets]
        ['iNaturalist', 'SUN', 'Places', 'Textures']
    """
    if name in SUITE_GROUPS:
        raise ValueError(f"{name!r} is a group of suites: name one of {_listed(name)}.")
    if name not in SUITES:
        raise ValueError(f"Unknown suite {name!r}; there are {', '.join(SUITES)}.")
    return SUITES[name]


def get_suites(name: str) -> tuple[Suite, ...]:
    """Look a suite or a group of suites up.

    Args:
        name: Of a suite, or of a group such as "pacs-open".

    Returns:
        The suite alone, or the suites of the group.

    Raises:
        ValueError: If there is neither.

    Example:
        >>> len(get_suites("pacs-open")), len(get_suites("pacs-open-photo"))
        (4, 1)
    """
    if name in SUITE_GROUPS:
        return tuple(SUITES[member] for member in SUITE_GROUPS[name])
    if name not in SUITES:
        known = ", ".join((*SUITES, *SUITE_GROUPS))
        raise ValueError(f"Unknown suite {name!r}; there are {known}.")
    return (SUITES[name],)


def _listed(group: str) -> str:
    return ", ".join(SUITE_GROUPS[group])
