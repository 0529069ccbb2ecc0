"""The demo as a visitor meets it: a real server, a real browser, real photos."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import retinex
from retinex import EXPERIMENTS, Stage

ROOT = Path(__file__).parent.parent
ARTIFACTS = ROOT / "artifacts"
MAX_MEGAPIXELS = 1
NETWORKS_TIMEOUT = 120_000  # ms; slow machines are not what is tested here


def find_chromium() -> str | None:
    """Return an installed Chromium; None leaves it to Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start `python demo.py` on a free port; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "CI": "true",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "RETINEX_MAX_MEGAPIXELS": str(MAX_MEGAPIXELS),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "demo.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "Running on local URL" in line:
                break
        else:
            pytest.fail(f"demo.py ended with {process.wait()} before it served a page")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, server: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the demo; keep a screenshot of how the test left it."""
    width, height = getattr(request, "param", (1440, 1000))
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(server)
    yield page
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{request.node.name}.png", full_page=True)
    page.close()


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#photo input[type=file]", path)


def wait_for_all(page: Page) -> None:
    expect(page.locator("#status")).to_contain_text("pixels:", timeout=NETWORKS_TIMEOUT)


def open_tab(page: Page, stage: Stage) -> None:
    """Open a stage's tab, from the overflow menu where the page is narrow."""
    tab = page.get_by_role("tab", name=stage.label, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown").get_by_text(stage.label, exact=True)
    tab.click()


def download(page: Page, selector: str) -> np.ndarray:
    """Fetch the file behind the picture that the page shows."""
    source = page.locator(selector).get_attribute("src")
    assert source is not None
    assert source.split("?")[0].endswith(".png")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())))


@pytest.fixture(scope="module")
def dark_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of an example photo, so that four networks don't take long."""
    path = tmp_path_factory.mktemp("photos") / "dark.png"
    Image.open(ROOT / "examples" / "coffee.jpg").crop((150, 50, 390, 210)).save(path)
    return path


@pytest.mark.parametrize("page", [(1440, 1000), (390, 844)], indirect=True, ids=["desk", "phone"])
def test_every_tab_shows_what_inference_computes(page: Page, dark_photo: Path) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    for stage in Stage:
        open_tab(page, stage)
        for name, experiment in EXPERIMENTS.items():
            picture = f"#{stage}-{name} img"
            expect(page.locator(picture)).to_be_visible()
            expect(page.locator(f"#{stage}-{name}")).to_contain_text(experiment.title)
            expected = retinex.enhance(dark_photo, name).stages[stage]
            np.testing.assert_array_equal(download(page, picture), expected)
        page.screenshot(path=ARTIFACTS / f"tab-{stage}-{page.viewport_size['width']}.png")


def test_status_names_device_and_times(page: Page, dark_photo: Path) -> None:
    status = page.locator("#status")
    expect(status).to_contain_text(re.compile("Runs on: (CPU|CUDA)"))
    upload(page, dark_photo)
    wait_for_all(page)
    for experiment in EXPERIMENTS.values():
        expected = re.compile(rf"{re.escape(experiment.title)} \d+\.\d s on (CPU|CUDA)")
        expect(status).to_contain_text(expected)


def test_slider_compares_the_experiment_chosen(page: Page, dark_photo: Path) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    for name, experiment in EXPERIMENTS.items():
        page.locator("#compared").get_by_label(experiment.title, exact=True).check()
        open_tab(page, Stage.OUTPUT)
        output = page.locator(f"#output-{name} img").get_attribute("src")
        assert output is not None
        after = page.locator(f"#before-after img[src='{output}']")
        expect(after).to_be_visible()


def test_second_photo_replaces_the_first(page: Page, dark_photo: Path, tmp_path: Path) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    page.locator("#photo").get_by_label("Remove Image").or_(
        page.locator("#photo button[aria-label='Clear']")
    ).first.click()
    expect(page.locator("#before-after img")).to_have_count(0)
    other = tmp_path / "other.png"
    Image.open(dark_photo).crop((0, 0, 64, 48)).save(other)
    upload(page, other)
    expect(page.locator("#status")).to_contain_text("64×48", timeout=NETWORKS_TIMEOUT)
    assert download(page, "#output-join img").shape == (48, 64, 3)


def test_photo_above_the_limit_gets_a_clear_message(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    Image.new("RGB", (1200, 1000), (9, 9, 9)).save(large)
    upload(page, large)
    message = page.get_by_text("1200×1000 pixels (1.2 megapixels)")
    expect(message).to_be_visible(timeout=NETWORKS_TIMEOUT)
    expect(page.get_by_text("Traceback")).to_have_count(0)
