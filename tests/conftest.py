"""What the tests share: the data beside the checkout, and small models with random weights."""

import copy
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from hub_server import Hub, serve_hub
from playwright.sync_api import Browser, sync_playwright

from clipn.model import CLIPN, build_base

# The search for doctests would import all of them under one name.
collect_ignore_glob = ["*conftest.py"]

# Files of tests that start clusters, ranks, servers, browsers or commands.
LONG = (
    "test_ray_serve", "test_ray_engine", "test_openapi", "test_evaluation_page",
    "test_page_answers", "test_page_access", "test_page_inputs", "test_page_problems",
    "test_extras", "test_pages", "test_dying_ranks", "test_parity", "test_resume", "test_serve",
    "test_metric", "test_evaluation", "test_readme", "test_promises_page", "test_onnx_detector",
    "test_distributions", "test_commands", "test_step", "test_kills", "test_mutated_inputs",
    "test_failing_writes", "test_page_p_values",
)  # fmt: skip
SHARED = Path(__file__).parents[2] / "shared"

TINY_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TINY_ARCHITECTURE = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": TINY_TEXT,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's own caches, and none reaches for the network."""
    monkeypatch.setenv("CLIPN_CACHE", str(tmp_path_factory.getbasetemp() / "clipn-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models as small as these are faster on one, and bits do not depend on the machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for all pages: Playwright cannot be started twice in a process."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is absent: apt install chromium")
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if os.geteuid() == 0:  # its own sandbox does not start for root, as in containers
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty Hugging Face hub on this machine, which the client takes for its own; no cache."""
    with serve_hub() as hub:
        settings = {
            "ENDPOINT": hub.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hub-cache"),
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in settings.items():
            is_new = name == "HF_HUB_DISABLE_XET"  # older clients have none, and no Xet either
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value, raising=not is_new)
        template = "HUGGINGFACE_CO_URL_TEMPLATE"  # older clients keep a second one
        monkeypatch.setattr(
            f"huggingface_hub.file_download.{template}", settings[template], raising=False
        )
        yield hub


@pytest.fixture
def go_offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Sets HF_HUB_OFFLINE from the moment on that it is called."""
    import huggingface_hub

    # Clients before 1.0 keep sessions, which know whether they are offline.
    forget_sessions = getattr(huggingface_hub, "configure_http_backend", lambda: None)

    def go() -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        forget_sessions()

    yield go
    forget_sessions()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder beside the checkout, with real images and the reference's fixtures."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent: it holds the real images and the reference's fixtures")
    return SHARED


@pytest.fixture
def limit_file_size() -> Callable[[int], AbstractContextManager[None]]:
    """No file may grow beyond some bytes: what writing meets on a full disk, for real."""

    @contextmanager
    def limit(num_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture(scope="session")
def _tiny_models() -> dict[str, CLIPN]:
    torch.manual_seed(0)
    models = {}
    for variant in ("plain", "learnable", "handcrafted"):
        model = CLIPN(build_base(TINY_ARCHITECTURE, name="tiny"))
        if variant != "plain":
            model.add_no_tower(variant=variant)
            with torch.no_grad():
                for parameter in model.no_tower.parameters():
                    parameter.add_(0.02 * torch.randn_like(parameter))
        models[variant] = model
    return models


def _copy(model: CLIPN) -> CLIPN:
    """A copy for one test; the tokenizer never changes and takes long to copy."""
    return copy.deepcopy(model, {id(model.tokenizer): model.tokenizer})


@pytest.fixture
def plain_model(_tiny_models: dict[str, CLIPN]) -> CLIPN:
    """A tiny CLIP that has not learned to say no."""
    return _copy(_tiny_models["plain"])


@pytest.fixture
def learnable_model(_tiny_models: dict[str, CLIPN]) -> CLIPN:
    """A tiny CLIPN with a pool of prompts; random weights."""
    return _copy(_tiny_models["learnable"])


@pytest.fixture
def handcrafted_model(_tiny_models: dict[str, CLIPN]) -> CLIPN:
    """A tiny CLIPN with negated templates; random weights."""
    return _copy(_tiny_models["handcrafted"])


@pytest.fixture(scope="session")
def compact_model() -> CLIPN:
    """The model that ships with the package."""
    from clipn.model import load_model

    return load_model("compact")
