"""The detector: class names in, and for every image one of them or "none of these" out."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipn.calibration import (
    AnyCalibration,
    calibration_from_json,
    calibration_to_json,
    check_threshold,
    threshold_from_json,
    threshold_to_json,
)
from clipn.data.images import Decoding
from clipn.detector_folder import (
    BANKS,
    DetectorConfig,
    read_detector_config,
    write_detector_config,
)
from clipn.errors import ModelError
from clipn.files import file_crc32, write_tensors
from clipn.image_detector import ImageDetector
from clipn.judge import Judge
from clipn.judgement import Judgement, Precision
from clipn.model import CLIPN, ClassBank, load_model
from clipn.model.bank_cache import cached_class_bank
from clipn.model.clipn import HOW_TO_GET_A_NO
from clipn.model.patches import grid_of_patches
from clipn.predictions import Rule, Threshold
from clipn.scores import Score, get_score

log = logging.getLogger(__name__)

MODEL = "model"


class Detector(ImageDetector):
    """Tells which of the given classes an image shows, or that it shows none of them.

    What decides is, in this order: the threshold, if one was given or calibrated; the rule that was
    asked for; the score's own rule ("ctw" and "atd" have one).

    Args:
        model: A CLIP with its "no"; a plain CLIP works with the scores that need none.
        class_names: The classes, none empty and none twice.
        score: One of `clipn.scores.SCORES` that needs nothing but, maybe, the "no".
        rule: "ctw" or "atd", to decide by that rule whatever the score; the score's own by default.
        threshold: Refuse images that score below it; a tuple of one for each class counts that of
            the most likely class.
        templates: Prompt templates with one {}; the model's own by default.
        negated_templates: Of the hand-crafted variant; the model's own by default.
        batch_size: Images embedded at once.
        num_workers: Threads that read images.
        decoding: How JPEG files are decoded (see `clipn.data.images.Decoding`); a score near the
            threshold may depend on it, so calibrate as you predict.

    Raises:
        ModelError: If score or rule need a "no" that the model has not learned.
        ValueError: If a name or an option is wrong.

    Attributes:
        model: The model.
        bank: The embedded class names.
        score_name: Which score is taken.
        rule: What decides; None until a score without a rule of its own is calibrated.
        threshold: Of the rule "threshold".
        calibration: Where the threshold is from, if `calibrate` made it.
        decoding: How JPEG files are decoded; may be changed at any time.
    """

    def __init__(
        self,
        model: CLIPN,
        class_names: Sequence[str],
        *,
        score: str = "atd",
        rule: Literal["ctw", "atd"] | None = None,
        threshold: Threshold | None = None,
        templates: Sequence[str] | None = None,
        negated_templates: Sequence[str] | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
        decoding: Decoding = "exact",
    ) -> None:
        bank = cached_class_bank(
            model, class_names, templates=templates, negated_templates=negated_templates
        )
        self._set_up(model, bank, score, rule, threshold)
        if unseen := model.unseen_words(self.class_names):
            log.warning(
                "The model has never read %s; class names with these words mean little to it.",
                ", ".join(map(repr, unseen[:8])) + (" and more" if len(unseen) > 8 else ""),
            )
        self.batch_size, self.num_workers = batch_size, num_workers
        self.decoding: Decoding = decoding

    def _set_up(
        self,
        model: CLIPN,
        bank: ClassBank,
        score: str,
        rule: str | None,
        threshold: Threshold | None,
    ) -> None:
        """Check how to score and decide."""
        self._score: Score = get_score(score)
        if rule not in (None, "ctw", "atd"):
            raise ValueError(f"rule must be 'ctw', 'atd' or None; got {rule!r}.")
        _check_needs(self._score, bank)
        if rule is not None and bank.no is None:
            raise ModelError(f'The rule {rule} needs a "no". {HOW_TO_GET_A_NO}')
        check_threshold(threshold, num_classes=len(bank.names))
        self.model, self.bank, self.score_name = model, bank, score
        self._judges: dict[tuple[str, ...], Judge] = {(): self.judge()}
        self.threshold: Threshold | None = threshold
        self.calibration: AnyCalibration | None = None
        own_rule: Rule | None = score if self._score.refuses else None  # pyright: ignore[reportAssignmentType]
        self.rule: Rule | None = "threshold" if threshold is not None else (rule or own_rule)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the bank's rows."""
        return self.bank.names

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of what the image tower sees, in pixels."""
        height, width = np.broadcast_to(self.model.source.preprocess["size"], 2).tolist()
        return height, width

    def preprocess(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        """Normalised pixels of an RGB image."""
        return self.model.preprocess(image)

    def judge(self, extra_scores: Sequence[str] = (), *, precision: Precision = "exact") -> Judge:
        """What compares embeddings of images with this detector's classes.

        Args:
            extra_scores: Scores to take besides the detector's own, which comes first.
            precision: "exact" answers as the detector itself does; see `clipn.judgement.Precision`.

        Raises:
            ModelError: If one needs a "no" that the model has not learned.
            ValueError: If there is no such score, or it needs more than a detector has.
        """
        names = dict.fromkeys((self.score_name, *extra_scores))
        self.check_scores(tuple(names))
        return Judge(self.bank, tau=self.model.tau, scores=tuple(names), precision=precision)

    def check_scores(self, names: Sequence[str]) -> None:
        """Refuse scores that need more than there is; see `ImageDetector.check_scores`."""
        for name in names:
            _check_needs(get_score(name), self.bank)

    @torch.inference_mode()
    def judge_pixels(
        self,
        pixels: Float[Tensor, "batch 3 height width"],
        *,
        extra_scores: Sequence[str] = (),
        top_k: int = 1,
    ) -> Judgement:
        """Embed, compare, score and decide; see `ImageDetector.judge_pixels`."""
        names = tuple(extra_scores)
        if names not in self._judges:
            self._judges[names] = self.judge(names)
        return self._judges[names](
            self.model.encode_image(pixels), rule=self.rule, threshold=self.threshold, top_k=top_k
        )

    @torch.inference_mode()
    def _map_no(
        self, pixels: Float[Tensor, "1 3 height width"], best: int
    ) -> tuple[Float[np.ndarray, "rows columns"] | None, str | None]:
        """The p_no of a class for each part of an image, or why there is none."""
        if self.bank.no is None:
            return None, HOW_TO_GET_A_NO
        height, width = pixels.shape[2:]
        try:
            patches = self.model.encode_patches(pixels)[0].double()
            shape = grid_of_patches(len(patches), height=height, width=width)
        except ModelError as error:
            return None, str(error)
        margin = (self.bank.no[best] - self.bank.yes[best]).double()
        return (self.model.tau * patches @ margin).sigmoid().view(shape).cpu().numpy(), None

    def fingerprint(self) -> str:
        """A short hash of all that an answer depends on, 16 hexadecimal digits."""
        decides = [self.score_name, self.rule, self.threshold, self.decoding]
        decides.append(calibration_to_json(self.conformal_calibration))
        identity = [self.model.fingerprint(), self.class_names, self.bank.templates, *decides]
        digest = hashlib.sha256(json.dumps(identity).encode())
        for rows in (self.bank.yes, self.bank.no):
            if rows is not None:
                digest.update(rows.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    # Folders

    def save(self, folder: str | Path) -> None:
        """Write this detector as a folder: class names, banks, calibration and the model.

        A model that a name loads anywhere ("compact", "ARCHITECTURE/TAG", "hf-hub:...") is kept as
        that name, any other as a model folder within.

        Args:
            folder: Made if missing; files of a detector in it are replaced.
        """
        folder = Path(folder)
        if self.model.reference is None:
            self.model.save(folder / MODEL)
        bank = {"yes": self.bank.yes} | ({} if self.bank.no is None else {"no": self.bank.no})
        write_tensors(
            folder / BANKS, {name: rows.cpu().contiguous() for name, rows in bank.items()}
        )
        write_detector_config(
            folder,
            DetectorConfig(
                model=self.model.reference,
                model_fingerprint=self.model.fingerprint(),
                class_names=list(self.class_names),
                templates=list(self.bank.templates),
                score=self.score_name,
                rule=self.rule,
                threshold=threshold_to_json(self.threshold),
                calibration=calibration_to_json(self.calibration),
                banks_crc32=file_crc32(folder / BANKS),
            ),
        )

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> "Detector":
        """Read a detector that `save` wrote.

        Args:
            folder: Where it is.
            device: Where to put the weights.

        Raises:
            ModelError: If it is damaged, or its model is no longer the one it was made with.
        """
        folder = Path(folder)
        config = read_detector_config(folder)
        model = load_model(config.model or folder / MODEL, device=device)
        if model.fingerprint() != config.model_fingerprint:
            raise ModelError(
                f"The detector {folder} was made with other weights of {config.model or MODEL!r}."
            )
        try:
            banks = load_file(folder / BANKS, device=str(device))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{folder / BANKS} cannot be read: {error}") from error
        detector = cls.__new__(cls)
        try:
            bank = ClassBank(
                names=tuple(config.class_names),
                templates=tuple(config.templates),
                yes=banks["yes"],
                no=banks.get("no"),
            )
            rule = config.rule if config.rule in ("ctw", "atd") else None
            threshold = threshold_from_json(config.threshold)
            detector._set_up(model, bank, config.score, rule, threshold)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The detector {folder} is damaged: {error!r}") from error
        detector.calibration = calibration_from_json(
            config.calibration, num_classes=len(config.class_names), what=str(folder)
        )
        detector.batch_size, detector.num_workers, detector.decoding = 64, 2, "exact"
        return detector


def _check_needs(score: Score, bank: ClassBank) -> None:
    if more := score.needs - {"no"}:
        raise ValueError(
            f"The score {score.name!r} needs {', '.join(sorted(more))}, which a detector does not "
            "have; the evaluation serves it (clipn eval)."
        )
    if "no" in score.needs and bank.no is None:
        raise ModelError(f'The score {score.name} needs a "no". {HOW_TO_GET_A_NO}')
