"""The model card: what a model folder holds, its terms, and figures where they were measured."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

TAGS = ("clip", "out-of-distribution-detection", "clipn")
FIGURES = {"auroc": "AUROC", "fpr95": "FPR95"}


@runtime_checkable
class MeasuredResult(Protocol):
    """What a card takes of a result; `clipn.benchmarks.Result` is one."""

    @property
    def suite(self) -> str:
        """Name of the suite."""
        ...

    @property
    def score(self) -> str:
        """Name of the score."""
        ...

    @property
    def model_fingerprint(self) -> str:
        """Of the model that was measured."""
        ...

    @property
    def package_version(self) -> str:
        """Of the clipn that measured it."""
        ...

    @property
    def date(self) -> str:
        """When it was measured, ISO 8601."""
        ...

    @property
    def convention(self) -> str:
        """What the figures mean."""
        ...

    @property
    def averages(self) -> Mapping[str, Mapping[str, float]]:
        """Shares by metric, of "all" sets and of each kind of sets."""
        ...


def write_card(
    config: Mapping[str, Any],
    *,
    address: str = "path/to/this/folder",
    license: str | None = None,
    data_terms: str | None = None,
    results: Sequence[MeasuredResult] = (),
) -> str:
    """The card of a model folder, in Markdown with the hub's metadata at its head.

    Args:
        config: The configuration of the folder.
        address: What `clipn.load_model` takes for it.
        license: Of the weights, as the hub writes it: "mit", "cc-by-nc-4.0", "other", ...
        data_terms: What the model was taught with, and under which terms.
        results: What was measured with it.

    Returns:
        The text of README.md.
    """
    base = config["name"] + (f"/{config['pretrained']}" if config["pretrained"] else "")
    says_no = config["variant"] or "none (a plain CLIP)"
    parts = [
        f"---\n{_metadata(address, license, results)}\n---",
        f"# CLIPN on {base}",
        f'- Base: {base}\n- Variant of the "no": {says_no}\n- Temperature: {config["tau"]:.4g}\n'
        f"- Licence of the weights: {license or 'not stated'}\n"
        f"- SHA-256 of the weights: `{config['weights_sha256']}`, compared when they are loaded\n"
        f"- Written by clipn {config['package_version']}",
        f'```python\nimport clipn\n\nmodel = clipn.load_model("{address}")\n'
        'detector = clipn.Detector(model, ["tabby cat", "espresso"])\n```',
    ]
    if data_terms:
        parts.append(f"## Data and terms\n\n{data_terms}")
    if results:
        parts.append(f"## Figures\n\n{_figures(results)}")
    if config["training"]:
        settings = json.dumps(config["training"], indent=2)
        parts.append(f"## Training\n\n```json\n{settings}\n```")
    return "\n\n".join(parts) + "\n"


def _metadata(address: str, license: str | None, results: Sequence[MeasuredResult]) -> str:
    """The hub's metadata as YAML, with figures that its pages can show."""
    # Imported here because it takes a quarter of a second that no model needs to load.
    from huggingface_hub import EvalResult, ModelCardData

    measured = [
        EvalResult(
            task_type="zero-shot-image-classification",
            task_name="Out-of-distribution detection",
            dataset_type=result.suite,
            dataset_name=result.suite,
            metric_type=metric,
            metric_name=f"{name} of {result.score}",
            metric_value=round(result.averages["all"][metric], 6),
        )
        for result in results
        for metric, name in FIGURES.items()
    ]
    data = ModelCardData(
        library_name="clipn",
        license=license,
        tags=list(TAGS),
        model_name=address.rpartition("/")[2].partition("@")[0] if measured else None,
        eval_results=measured or None,
    )
    return data.to_yaml()


def _figures(results: Sequence[MeasuredResult]) -> str:
    """A table with a row a score and a column a suite."""
    suites = list(dict.fromkeys(result.suite for result in results))
    cells = {(result.score, result.suite): result.averages["all"] for result in results}
    lines = [
        "AUROC / FPR95 in percent, plain mean over the OOD sets of each suite.",
        "",
        f"| score | {' | '.join(suites)} |",
        f"|---|{'---|' * len(suites)}",
    ]
    for score in dict.fromkeys(result.score for result in results):
        found = [cells.get((score, suite)) for suite in suites]
        row = [f"{100 * f['auroc']:.2f} / {100 * f['fpr95']:.2f}" if f else "-" for f in found]
        lines.append(f"| {score} | {' | '.join(row)} |")
    versions = ", ".join(sorted({result.package_version for result in results}))
    conventions = "; ".join(sorted({result.convention for result in results}))
    latest = max(result.date for result in results)[:10]
    lines += ["", f"Measured by `clipn eval` of clipn {versions}, last on {latest}. {conventions}."]
    return "\n".join(lines)
