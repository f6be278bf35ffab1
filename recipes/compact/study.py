"""The study: how the compact model's "no" compares, from teaching to `docs/results.md`.

    python recipes/compact/study.py trials --base runs/compact-base
    python recipes/compact/study.py tables --base runs/compact-base --data-dir ../shared/data
    python recipes/compact/study.py baselines --base runs/compact-base --data-dir ../shared/data

`trials` teaches each way once and measures it on held-out training images only; that is where all
choices were made. `tables` measures all ways on the test suites, two of them with three seeds.
`baselines` measures there the scores that listen to no "no". Figures are kept in
`study_figures.json`; once all are there, `docs/results.md` is made of them. Each part goes on where
it was interrupted: what is taught or measured already is not done again.
"""

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from anomalies import far_suite
from classes import TEMPLATES
from clipn.benchmarks import EvaluationOptions, Result, Suite, evaluate, get_suites
from clipn.model import CLIPN, load_model
from clipn.scores import read_lexicon
from clipn.training.config import PairsConfig, TrainConfig
from clipn.training.loop import train
from evaluate import SUITES, suite_for

BASELINES = ("msp", "max_logit", "energy", "react", "odin", "fort", "mcm")  # those of the paper
NO_SCORES = ("ctw", "atd")
TEMPERED = ("msp", "energy", "react", "mcm")  # those that depend on the temperature, but odin
OTHERS = ("gl_mcm", "neg_label", "csp", "ada_neg", "eoe")
HELD_OUT_SCORES = (*NO_SCORES, "msp", "max_logit", "energy", "mcm")
ALL_SCORES = (*NO_SCORES, *BASELINES, *OTHERS)
GROUPS = (*SUITES, "pacs-open")
METRICS = ("auroc", "fpr95")
HELD_OUT_TITLES = {
    "near": "Against held-out images of the other classes",
    "far": "Against the same images, made to show nothing known (`anomalies.py`)",
}
Figures = dict[str, list[float]]
DOCUMENT = Path("docs/results.md")
HEAD, NOTES, OUTLIERS, FIGURES = (
    Path(__file__).with_name(name)
    for name in ("study_head.md", "study_notes.md", "outliers.txt", "study_figures.json")
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of teaching "no": what it changes in `TrainConfig`, and what tables call it."""

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    tau: float | None = None  # the temperature that step 1 learned, unless it is given


COMMON = {"epochs": 5, "batch_size": 1024, "captions": "per_class", "lr": 1e-3}
ITBO = {"losses": ("itbo",)}
STRONG = {"num_views": 2, "views": "strong"}
RANKING = {"losses": ("ranking",), "start": "opposite", "epochs": 3}
LOW_TAU = 8.0
WAYS = {
    "itbo": Way(title="ITBO: the shipped model", changes=ITBO),
    "ranking": Way(title="ranking", changes={**RANKING, **STRONG}, tau=LOW_TAU),
    "published": Way(title="as published: ITBO and TSO, lr 3e-4", changes={"lr": 3e-4}),
    "both": Way(title="ITBO and TSO"),
    "tso": Way(title="TSO", changes={"losses": ("tso",)}),
    "itbo-no-pool": Way(title="ITBO, no pool of prompts", changes={**ITBO, "num_prompts": 0}),
    "itbo-handcrafted": Way(
        title='ITBO, hand-crafted "no"', changes={**ITBO, "variant": "handcrafted"}
    ),
    "itbo-strong": Way(title="ITBO, strong views, tau 8", changes={**ITBO, **STRONG}, tau=LOW_TAU),
    "ranking-plain": Way(title="ranking, plain images", changes=RANKING, tau=LOW_TAU),
    "ranking-same": Way(
        title='ranking, "no" starts as "yes"',
        changes={**RANKING, **STRONG, "start": "same"},
        tau=LOW_TAU,
    ),
    "ranking-tau": Way(title="ranking, learned tau", changes={**RANKING, **STRONG}),
    "ranking-tso": Way(
        title="ranking and TSO",
        changes={**RANKING, **STRONG, "losses": ("ranking", "tso")},
        tau=LOW_TAU,
    ),
    "ranking-no-pool": Way(
        title="ranking, no pool of prompts",
        changes={**RANKING, **STRONG, "num_prompts": 0},
        tau=LOW_TAU,
    ),
}
SEEDS = dict.fromkeys(("itbo", "ranking", "ranking-same"), (0, 1, 2))  # of the others the first
FROZEN, FROZEN_LOW = "frozen towers", "frozen towers, tau 8"  # for scores without a "no"


def teach(way: Way, *, seed: int, args: argparse.Namespace, folder: Path) -> CLIPN:
    """The model that a way of teaching makes of the base; read where it was made before."""
    if (folder / "config.json").exists():
        return load_model(folder)
    settings = {**COMMON, **way.changes}
    is_handcrafted = settings.get("variant") == "handcrafted"
    pairs = PairsConfig(
        source=str(args.pairs),
        name_column="name",
        synonyms_column="synonyms",
        class_column="label",
        **({} if is_handcrafted else {"templates": tuple(TEMPLATES)}),
    )
    kind = settings.get("views") or settings.get("variant") or "plain"
    config = TrainConfig(
        pairs=pairs,
        model=str(args.base),
        out_dir=folder,
        cache_dir=args.work_dir / f"cache-{kind}",
        precision="bf16-mixed",
        accelerator="cpu",
        seed=seed,
        log_every=50,
        checkpoint_every=100,
        **settings,
    )
    torch.manual_seed(seed)
    return train(
        config,
        model=load_base(args.base, tau=way.tau),
        on_step=lambda r: print(folder.name, r.step, f"{r.loss:.4f}", flush=True),
    )


def load_base(folder: Path, *, tau: float | None) -> CLIPN:
    """The CLIP of step 1, at another temperature where one is given."""
    model = load_model(folder)
    if tau is not None:
        model.logit_scale.data.fill_(math.log(tau))
    return model


def measure(
    model: CLIPN,
    suites: Sequence[Suite],
    *,
    data_dir: Path,
    scores: Sequence[str],
    args: argparse.Namespace,
    folder: Path,
    counts: str = "enforce",
) -> list[Result]:
    """Results of a model on suites; kept where they are there already."""
    options = EvaluationOptions(
        counts=counts,
        cache_dir=args.work_dir / "images",
        lexicon=read_lexicon("wordnet") if "neg_label" in scores else None,
        outliers=OUTLIERS.read_text().splitlines() if "eoe" in scores else None,
        batch_size=250,
        num_resamples=0,
    )
    return [
        result
        for suite in suites
        for result in evaluate(
            model, suite, data_root=data_dir, out_dir=folder, scores=scores, options=options
        ).results
    ]


def run_trials(args: argparse.Namespace) -> None:
    """Teach every way once, measure it on held-out images, and keep the figures."""
    near = [suite_for(name, held_out=True) for name in SUITES]
    far = [far_suite(name) for name in SUITES]
    rows: dict[str, dict[str, Figures]] = {"near": {}, "far": {}}
    for name, way in WAYS.items():
        model = teach(way, seed=0, args=args, folder=args.work_dir / f"{name}-0")
        results = measure(
            model,
            [*near, *far],
            data_dir=args.held_out_dir,
            scores=HELD_OUT_SCORES,
            args=args,
            folder=args.work_dir / f"{name}-0" / "held-out",
            counts="report",
        )
        for kind, suites in (("near", near), ("far", far)):
            rows[kind][way.title] = mean_figures(results, [suite.name for suite in suites])
            print(name, kind, rows[kind][way.title], flush=True)
    keep(args.figures, "trials", rows)


def mean_figures(results: Sequence[Result], suites: Sequence[str]) -> Figures:
    """AUROC and FPR95 in percent of every score: the mean over suites of their averages."""
    found: dict[str, list[dict[str, float]]] = {}
    for result in results:
        if result.suite in suites:
            found.setdefault(result.score, []).append(result.averages["all"])
    return {
        score: [100 * statistics.fmean(f[metric] for f in of_suites) for metric in METRICS]
        for score, of_suites in found.items()
    }


def run_tables(args: argparse.Namespace) -> None:
    """Teach and measure what the tables show, and write the document."""
    for name, way in WAYS.items():
        runs = []
        for seed in SEEDS.get(name, (0,)):
            folder = args.work_dir / f"{name}-{seed}"
            model = teach(way, seed=seed, args=args, folder=folder)
            runs.append(measure_tests(model, NO_SCORES, args=args, folder=folder / "tests"))
        keep(args.figures, name, runs)
    write_document(args)


def run_baselines(args: argparse.Namespace) -> None:
    """Measure the scores that no teaching changes, and write the document."""
    for name, tau, scores in (
        (FROZEN, None, (*BASELINES, *OTHERS)),
        (FROZEN_LOW, LOW_TAU, TEMPERED),
    ):
        model, folder = load_base(args.base, tau=tau), args.work_dir / name.replace(" ", "-")
        keep(args.figures, name, [measure_tests(model, scores, args=args, folder=folder)])
    write_document(args)


def measure_tests(
    model: CLIPN, scores: Sequence[str], *, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """By group of suites and score: mean figures, and what the rules do, all in percent."""
    found = {}
    for group in GROUPS:
        suites = get_suites(group)
        results = measure(
            model, suites, data_dir=args.data_dir, scores=scores, args=args, folder=folder
        )
        figures = mean_figures(results, [suite.name for suite in suites])
        found[group] = {score: {"figures": figures[score]} for score in scores}
        for score in NO_SCORES if model.has_no else ():
            found[group][score]["rules"] = mean_rules([r for r in results if r.score == score])
    return found


def mean_rules(results: Sequence[Result]) -> dict[str, list[float]]:
    """Percent of ID kept and OOD refused by each rule: the mean over suites and their sets."""
    return {
        rule: [
            100 * statistics.fmean(r.rules[rule]["id_kept"] for r in results),
            100
            * statistics.fmean(
                statistics.fmean(r.rules[rule]["refused"].values()) for r in results
            ),
        ]
        for rule in results[0].rules
    }


def keep(path: Path, name: str, figures: Any) -> None:
    """Keep figures under a name beside those that are there."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: figures}, indent=1) + "\n")


def write_document(args: argparse.Namespace) -> None:
    """Make the document of the figures that are kept, once all of them are."""
    figures = json.loads(args.figures.read_text()) if args.figures.exists() else {}
    if missing := [name for name in (*WAYS, FROZEN, FROZEN_LOW, "trials") if name not in figures]:
        print("Not yet measured:", ", ".join(missing))
        return
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(render(figures))
    print(DOCUMENT)


def render(figures: dict[str, Any]) -> str:
    """The document."""
    frozen = figures[FROZEN]
    rows = {
        f"{score}, {name}": [spread(figures[name], g, score) for g in GROUPS]
        for name in SEEDS
        for score in NO_SCORES
    }
    rows |= {s: [spread(frozen, g, s) for g in GROUPS] for s in (*BASELINES, *OTHERS)}
    lines = [HEAD.read_text().rstrip(), "", "## All scores", "", *table(["score", *GROUPS], rows)]
    lines += ["", margin(figures), "", "## Decisions", "", *rules(figures), "", "## Ablations", ""]
    lines += table(
        ["way of teaching", *(f"{score}, {name}" for score in NO_SCORES for name in SUITES)],
        {
            way.title: [spread(figures[key], g, score) for score in NO_SCORES for g in SUITES]
            for key, way in WAYS.items()
        },
    )
    lines += ["", "## On held-out training images"]
    for kind, rows in figures["trials"].items():
        lines += ["", f"{HELD_OUT_TITLES[kind]}:", ""]
        lines += table(
            ["way of teaching", *HELD_OUT_SCORES],
            {
                title: [cell(*found[score]) for score in HELD_OUT_SCORES]
                for title, found in rows.items()
            },
        )
    return "\n".join([*lines, "", NOTES.read_text().rstrip(), ""])


def means(runs: Sequence[dict[str, Any]], group: str, score: str) -> list[list[float]]:
    """AUROC and FPR95 of every run."""
    return [run[group][score]["figures"] for run in runs]


def margin(figures: dict[str, Any]) -> str:
    """ATD beside the best of the paper's seven baselines, on the mean of both compact suites."""

    def both(name: str, score: str) -> list[float]:
        values = [found for group in SUITES for found in means(figures[name], group, score)]
        return [statistics.fmean(column) for column in zip(*values, strict=True)]

    baselines = {score: both(FROZEN, score) for score in BASELINES}
    baselines |= {f"{score} at tau {LOW_TAU:g}": both(FROZEN_LOW, score) for score in TEMPERED}
    by_auroc = max(baselines, key=lambda score: baselines[score][0])
    by_fpr95 = min(baselines, key=lambda score: baselines[score][1])
    best = baselines[by_auroc][0], baselines[by_fpr95][1]
    lines = [
        f"Mean of both compact suites: the best of the seven baselines has an AUROC of "
        f"{best[0]:.2f} ({by_auroc}) and an FPR95 of {best[1]:.2f} ({by_fpr95})."
    ]
    for name in SEEDS:
        atd = both(name, "atd")
        lines.append(
            f"ATD taught by {name} has {cell(*atd)}: a margin of {atd[0] - best[0]:+.2f} AUROC and "
            f"{atd[1] - best[1]:+.2f} FPR95."
        )
    return " ".join([*lines, "The paper's, on its own models and sets, is +2.34 and -11.64."])


def rules(figures: dict[str, Any]) -> list[str]:
    """What the paper's two rules and a calibrated threshold do."""
    rows = {}
    for name, score in product(SEEDS, NO_SCORES):
        for rule in (score, "calibrated"):
            runs = [[run[group][score]["rules"][rule] for run in figures[name]] for group in GROUPS]
            title = "the paper's rule" if rule == score else "TPR of 95 %"
            columns = [[statistics.fmean(c) for c in zip(*of, strict=True)] for of in runs]
            rows[f"{score}, {name}, {title}"] = [f"{k:.1f} / {r:.1f}" for k, r in columns]
    return table(["ID kept / OOD refused, %", *GROUPS], rows)


def spread(runs: Sequence[dict[str, Any]], group: str, score: str) -> str:
    """Mean and standard deviation over the runs."""
    cells = []
    for values in zip(*means(runs, group, score), strict=True):
        deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):.2f}{deviation}")
    return " / ".join(cells)


def cell(auroc: float, fpr95: float) -> str:
    """Both figures."""
    return f"{auroc:.2f} / {fpr95:.2f}"


def table(header: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


PARTS = {"trials": run_trials, "tables": run_tables, "baselines": run_baselines}


def main() -> None:
    """One part of the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--base", type=Path, required=True, help="model folder without a 'no'")
    parser.add_argument("--pairs", type=Path, default=Path("runs/compact-pairs/training.parquet"))
    parser.add_argument("--held-out-dir", type=Path, default=Path("runs/compact-pairs/held_out"))
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work-dir", type=Path, default=Path("runs/study"))
    parser.add_argument("--figures", type=Path, default=FIGURES)
    args = parser.parse_args()
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
