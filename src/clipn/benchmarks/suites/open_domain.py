"""Open domain generalization: one domain left out, some of its classes unknown (ODG-CLIP's split).

A suite each target domain. A CLIP that answers from names alone learns nothing from the other
domains; they are the training set of the scores that are fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clipn.benchmarks.layouts import Folders, Layout, ParquetFile
from clipn.benchmarks.suite import SetSpec, Suite
from clipn.data.class_names import read_class_list

ODG = (
    "Singha et al., Unknown Prompt, the only Lacuna: Unveiling CLIP's Potential for Open Domain "
    "Generalization, CVPR 2024"
)
Role = Literal["known", "unknown", "training"]


@dataclass(frozen=True, kw_only=True)
class _Data:
    """A data set of several domains.

    Attributes:
        name: Name of the group of suites, before "-open".
        title: Name of the data set.
        citation: Its paper.
        where: Where to get it.
        classes: What its folders are called, and the names of the classes.
        num_known: So many of the classes, the first ones, are known.
        tested: Which of the known classes the target's test images show.
        templates: Prompts; None takes the model's own.
        notes: What else to know.
    """

    name: str
    title: str
    citation: str
    where: str
    classes: dict[str, str]
    num_known: int
    tested: tuple[int, ...]
    templates: tuple[str, ...] | None = None
    notes: str = ""

    def suite(
        self,
        target: str,
        layouts: dict[Role, tuple[Layout, ...]],
        counts: dict[Role, int] | None = None,
    ) -> Suite:
        """The suite of a target domain; without `counts`, no source fixes them."""
        ids = tuple(self.classes)
        known, unknown = ids[: self.num_known], ids[self.num_known :]
        chosen: dict[Role, tuple[str, ...]] = {
            "known": tuple(ids[number] for number in self.tested),
            "unknown": unknown,
            "training": known,
        }

        def spec(role: Role, name: str) -> SetSpec:
            """The set that plays a role."""
            return SetSpec(
                name=name,
                kind="ood" if role == "unknown" else "id",
                layouts=layouts[role],
                num_images=(counts or {}).get(role),
                citation=self.citation,
                where=self.where,
                classes=chosen[role],
            )

        return Suite(
            name=f"{self.name}-open-{target}",
            title=f"{self.title}, {target} left out: {len(known)} known classes, {len(unknown)} "
            "unknown",
            citation=ODG,
            id_set=spec("known", f"{target}-known"),
            ood_sets=(spec("unknown", f"{target}-unknown"),),
            class_names=tuple(self.classes.values())[: self.num_known],
            class_ids=known,
            templates=self.templates,
            training_set=spec("training", f"not-{target}-known"),
            task="open",
            notes=f"{self.notes} Published figures are means over the domains.".strip(),
        )


OFFICEHOME = _Data(
    name="officehome",
    title="OfficeHome",
    citation=(
        "Venkateswara et al., Deep Hashing Network for Unsupervised Domain Adaptation, CVPR 2017"
    ),
    where=(
        "Get OfficeHome from hemanthdv.org/officeHomeDataset.html as officehome/<domain>/<class>/*,"
        " or the split copy of github.com/KaiyangZhou/Dassl.pytorch as "
        "office_home_dg/<domain>/{train,val}/<class>/*."
    ),
    classes=read_class_list("officehome"),
    num_known=54,
    tested=(0, 3, 4, 9, 10, 15, 16, 21, 22, 23, 32, 33, 34, 43, 44, 45),
    notes=(
        "Of the split copy the val images are tested, else all; how many images the chosen classes "
        "have is not published, so that only the total of a domain that is whole is checked."
    ),
)
OFFICEHOME_TOTALS = {"art": 2_427, "clipart": 4_365, "product": 4_439, "real_world": 4_357}
OFFICEHOME_ROOTS = (
    "office_home_dg",
    "officehome",
    "OfficeHome",
    "office_home",
    "OfficeHomeDataset_10072016",
)


def _officehome_folders(*domains: str) -> tuple[tuple[str, ...], ...]:
    """Where copies have the domains, which they spell in three ways."""
    spellings = (
        domains,
        tuple(domain.replace("_", "") for domain in domains),
        tuple(domain.replace("_", " ").title() for domain in domains),
    )
    return tuple(tuple(f"{r}/{d}" for d in s) for r in OFFICEHOME_ROOTS for s in spellings)


def _split_suite(
    data: _Data,
    totals: dict[str, int],
    folders_of: Callable[..., tuple[tuple[str, ...], ...]],
    target: str,
) -> Suite:
    """The suite of a target domain of a data set of which some copies are split and others whole.

    Args:
        data: The data set.
        totals: Images of all classes in each domain.
        folders_of: The folders of the given domains in every copy.
        target: The domain that is left out.
    """

    def layouts(*domains: str, split: str) -> tuple[Layout, ...]:
        """One half of copies that are split, then all images of others."""
        copies = tuple(dict.fromkeys(folders_of(*domains)))
        halves = (tuple(f"{folder}/{split}" for folder in folders) for folders in copies)
        total = sum(totals[domain] for domain in domains)
        return (
            *(Folders(folders=folders, holds="classes") for folders in halves),
            *(Folders(folders=folders, holds="classes", total=total) for folders in copies),
        )

    tests = layouts(target, split="val")
    training = layouts(*(domain for domain in totals if domain != target), split="train")
    return data.suite(target, {"known": tests, "unknown": tests, "training": training})


DIGITS = _Data(
    name="digits-dg",
    title="Digits-DG",
    citation=(
        "Zhou et al., Deep Domain-Adversarial Image Generation for Domain Generalisation, AAAI 2020"
    ),
    where=(
        "Get Digits-DG from github.com/KaiyangZhou/Dassl.pytorch; it unpacks to "
        "digits_dg/<domain>/{train,val}/<class>/*."
    ),
    classes={str(digit): str(digit) for digit in range(10)},
    num_known=7,
    tested=tuple(range(7)),
    # CLIP's prompt for MNIST (data/prompts.md of github.com/openai/CLIP).
    templates=('a photo of the number: "{}".',),
    notes=(
        "Of the split copy the val images are tested, else all; how the split divides the classes "
        "could not be confirmed, so that only the total of a domain that is whole is checked."
    ),
)
# Each is a quarter of 24,000 images.
DIGITS_TOTALS = {"mnist": 6_000, "mnist_m": 6_000, "svhn": 6_000, "syn": 6_000}
DIGITS_ROOTS = ("digits_dg", "Digits-DG")


def _digits_folders(*domains: str) -> tuple[tuple[str, ...], ...]:
    """Where copies have the domains."""
    return tuple(tuple(f"{root}/{domain}" for domain in domains) for root in DIGITS_ROOTS)


PACS = _Data(
    name="pacs",
    title="PACS",
    citation="Li et al., Deeper, Broader and Artier Domain Generalization, ICCV 2017",
    where=(
        "Get PACS through github.com/KaiyangZhou/Dassl.pytorch as pacs/images/<domain>/<class>/*, "
        "or make pacs.parquet with the columns image, label, name and domain."
    ),
    classes=read_class_list("pacs"),
    num_known=6,
    tested=tuple(range(6)),
)
PACS_ROOTS = ("pacs", "PACS", "kfold", "pacs/images")
# Images of each domain: all, and those of the unknown class, person.
PACS_COUNTS = {
    "art_painting": (2_048, 449),
    "cartoon": (2_344, 405),
    "photo": (1_670, 432),
    "sketch": (3_929, 160),
}


def _pacs_layouts(*domains: str) -> tuple[Layout, ...]:
    return (
        *(
            Folders(folders=tuple(f"{root}/{domain}" for domain in domains), holds="classes")
            for root in PACS_ROOTS
        ),
        ParquetFile(file="pacs.parquet", where=("domain", domains)),
    )


def _pacs_suite(target: str) -> Suite:
    sources = [domain for domain in PACS_COUNTS if domain != target]
    tests = _pacs_layouts(target)
    num_known = {domain: total - unknown for domain, (total, unknown) in PACS_COUNTS.items()}
    return PACS.suite(
        target,
        {"known": tests, "unknown": tests, "training": _pacs_layouts(*sources)},
        {
            "known": num_known[target],
            "unknown": PACS_COUNTS[target][1],
            "training": sum(num_known[domain] for domain in sources),
        },
    )


OFFICEHOME_SUITES = tuple(
    _split_suite(OFFICEHOME, OFFICEHOME_TOTALS, _officehome_folders, domain)
    for domain in OFFICEHOME_TOTALS
)
DIGITS_SUITES = tuple(
    _split_suite(DIGITS, DIGITS_TOTALS, _digits_folders, domain) for domain in DIGITS_TOTALS
)
PACS_SUITES = tuple(_pacs_suite(domain) for domain in PACS_COUNTS)
