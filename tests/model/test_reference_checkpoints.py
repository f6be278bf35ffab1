"""Every number that the reference implementation computes from its own checkpoints."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from clipn import scores
from clipn.errors import ModelError
from clipn.losses import clipn_loss
from clipn.model import CLIPN, ClassBank, import_reference_checkpoint, load_model

RELATIVE = 1e-4
# The reference takes -log(1 - p), which is exactly 0 in float32 where softplus still gives 3e-10.
ABSOLUTE = 1e-7


@dataclass(frozen=True, kw_only=True)
class Reference:
    folder: Path
    model: CLIPN
    expected: dict[str, np.ndarray]
    texts: dict[str, list[str]]
    image: Tensor

    @property
    def captions_of_no(self) -> list[str]:
        is_handcrafted = self.model.variant == "handcrafted"
        return self.texts["captions_no" if is_handcrafted else "captions"]

    def bank(self) -> ClassBank:
        is_handcrafted = self.model.variant == "handcrafted"
        return self.model.class_bank(
            self.texts["classes"],
            templates=self.texts["templates"],
            negated_templates=self.texts["templates_no"] if is_handcrafted else None,
        )

    def check(self, key: str, value: Tensor) -> None:
        expected = self.expected[key]
        assert tuple(value.shape) == expected.shape, key
        error = np.abs(value.detach().numpy() - expected).max()
        assert error < RELATIVE * np.abs(expected).max() + ABSOLUTE, f"{key}: error {error:.2e}"


@pytest.fixture(params=["learnable", "handcrafted"])
def reference(request: pytest.FixtureRequest, shared_dir: Path) -> Reference:
    folder = shared_dir / "fixtures" / request.param
    model = import_reference_checkpoint(folder / "epoch_10.pt", folder / "model.json")
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("images/*.png"))]
    with np.load(folder / "expected.npz") as archive:
        expected = dict(archive)
    return Reference(
        folder=folder,
        model=model,
        expected=expected,
        texts=json.loads((folder / "texts.json").read_text()),
        image=model.encode_image(images),
    )


def test_the_prompts_in_a_checkpoint_tell_its_variant(reference: Reference):
    assert reference.model.variant == reference.folder.name


def test_embeddings_are_those_of_the_reference(reference: Reference):
    reference.check("image_features", reference.image)
    reference.check("caption_features", reference.model.encode_text(reference.texts["captions"]))
    reference.check("caption_no_features", reference.model.encode_text_no(reference.captions_of_no))


def test_class_banks_are_those_of_the_reference(reference: Reference):
    bank = reference.bank()
    reference.check("class_yes", bank.yes)
    assert bank.no is not None
    reference.check("class_no", bank.no)


@pytest.mark.parametrize(("suffix", "tau"), [("", 100.0), ("10", 10.0)])
def test_logits_and_scores_are_those_of_the_reference(
    reference: Reference, suffix: str, tau: float
):
    logits = reference.model.logits(reference.image, reference.bank(), tau=tau)
    assert logits.no is not None
    reference.check(f"logits{suffix}", logits.yes)
    reference.check(f"logits{suffix}_no", logits.no)
    reference.check(f"ctw{suffix}", scores.ctw(logits.yes, logits.no))
    reference.check(f"atd{suffix}", scores.atd(logits.yes, logits.no))
    reference.check(f"msp{suffix}", scores.msp(logits.yes))
    reference.check(f"energy{suffix}", scores.energy(logits.yes))
    if not suffix:
        reference.check("maxlogit", scores.max_logit(logits.yes))


def test_losses_are_those_of_the_reference(reference: Reference):
    yes = reference.model.encode_text(reference.texts["captions"])
    no = reference.model.encode_text_no(reference.captions_of_no)
    # The file keeps logit_scale in half precision: its tau is 100.03, and the losses use it.
    losses = clipn_loss(reference.image, yes, no, tau=reference.model.tau)
    reference.check("loss_yes", losses.itbo_diagonal)
    reference.check("loss_no", losses.itbo_off_diagonal)
    reference.check("loss_tso", losses.tso)
    losses = clipn_loss(reference.image, yes, no, tau=10.0)
    reference.check("loss10_yes", losses.itbo_diagonal)
    reference.check("loss10_no", losses.itbo_off_diagonal)


def test_gradients_are_those_of_the_reference(reference: Reference):
    model = reference.model
    yes = model.encode_text(reference.texts["captions"])
    no = model.encode_text_no(reference.captions_of_no)
    clipn_loss(reference.image, yes, no, tau=10.0).total.backward()
    assert model.no_tower is not None
    tower, prompts = model.no_tower.text, model.no_tower.prompts
    reference.check("grad_text_projection_no", tower.text_projection.grad)
    reference.check("grad_ln_final_no.weight", tower.ln_final.weight.grad)
    reference.check("grad_positional_embedding_no", tower.positional_embedding.grad)
    if prompts is not None:
        reference.check("grad_prompt_no", prompts.grad.sum(dim=0))
    assert all(parameter.grad is None for parameter in model.visual.parameters())
    assert all(parameter.grad is None for parameter in model.text.parameters())


def test_an_imported_model_is_the_same_after_saving_and_loading(
    reference: Reference, tmp_path: Path
):
    reference.model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.fingerprint() == reference.model.fingerprint()
    assert loaded.variant == reference.model.variant


def _save_changed(folder: Path, path: Path, change: dict[str, object]) -> Path:
    content = torch.load(folder / "epoch_10.pt", weights_only=True)
    for key, value in change.items():
        if value is None:
            del content["state_dict"][key]
        else:
            content["state_dict"][key] = value
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module.ln_final_no.weight": None}, r"missing: ln_final_no\.weight"),
        ({"module.prompt_yes": torch.zeros(2)}, "unexpected: prompt_yes"),
        (
            {"module.text_projection_no": torch.zeros(3, 32)},
            r"of another shape: text_projection_no \(3, 32\) instead of \(32, 32\)",
        ),
        ({"module.ln_final_no.bias": torch.full((32,), torch.nan)}, "NaN or infinite"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_its_keys(
    shared_dir: Path, tmp_path: Path, change: dict[str, object], message: str
):
    folder = shared_dir / "fixtures" / "learnable"
    path = _save_changed(folder, tmp_path / "changed.pt", change)
    with pytest.raises(ModelError, match=message):
        import_reference_checkpoint(path, folder / "model.json")


class _Payload:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "the pickle ran")


def test_a_checkpoint_with_code_in_it_is_refused_and_nothing_runs(shared_dir: Path, tmp_path: Path):
    torch.save({"state_dict": {"x": _Payload(tmp_path / "ran")}}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="was refused: reading it would run code"):
        import_reference_checkpoint(tmp_path / "evil.pt", "ViT-B-16")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "entries that are not weights: epoch"),
        ({"state_dict": {}}, "holds no state_dict"),
        ({"state_dict": {"visual.x": torch.zeros(1)}}, "no weights of a no tower"),
        ([1, 2], "holds no state_dict"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    shared_dir: Path, tmp_path: Path, content: object, message: str
):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=message):
        import_reference_checkpoint(
            tmp_path / "other.pt", shared_dir / "fixtures" / "learnable" / "model.json"
        )


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken zip"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "broken.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pt"):
        import_reference_checkpoint(tmp_path / "broken.pt", "ViT-B-32")


def test_an_unknown_architecture_is_refused_with_the_names_that_come_close(
    shared_dir: Path, tmp_path: Path
):
    path = shared_dir / "fixtures" / "learnable" / "epoch_10.pt"
    with pytest.raises(ModelError, match="did you mean ViT-B-16"):
        import_reference_checkpoint(path, "ViT-B16")
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as a model configuration"):
        import_reference_checkpoint(path, tmp_path / "model.json")
