"""The demo as a visitor meets it: a real server, a real browser, real photos."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import retinex
from retinex import EXPERIMENTS, Stage
from retinex.stages import COMPUTED_STAGES

ROOT = Path(__file__).parent.parent
ARTIFACTS = ROOT / "artifacts"
MAX_MEGAPIXELS = 1
README_ADDRESS = "http://127.0.0.1:7860"
EXIF_MAKE, EXIF_ORIENTATION = 0x010F, 0x0112
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


def test_controls_change_the_output_without_the_networks(page: Page, dark_photo: Path) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    status = page.locator("#status").inner_text()
    before = download(page, "#output-join img")
    first_source = page.locator("#output-join img").get_attribute("src")
    strength = page.get_by_label("number input for Strength")
    strength.fill("0")
    strength.press("Enter")
    expect(page.locator("#output-join img")).not_to_have_attribute("src", str(first_source))
    photo = np.asarray(Image.open(dark_photo))
    np.testing.assert_array_equal(download(page, "#output-join img"), photo)
    assert not np.array_equal(before, photo)
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.locator("#output-join img")).to_have_attribute("src", str(first_source))
    assert page.locator("#status").inner_text() == status  # its times are those of the networks


def test_downloads_keep_name_and_metadata(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_MAKE], exif[EXIF_ORIENTATION] = "Camera", 6
    path = tmp_path / "street at night.jpg"
    Image.open(ROOT / "examples" / "cat.jpg").crop((0, 0, 96, 64)).save(path, exif=exif)
    upload(page, path)
    wait_for_all(page)
    for kind, extension in (("PNG", ".png"), ("JPEG", ".jpg")):
        with page.expect_download() as started:
            page.locator(f"#download-{kind}").click()
        assert "street" in started.value.suggested_filename
        assert started.value.suggested_filename.endswith(extension)
        picture = Image.open(started.value.path())
        assert picture.size == (64, 96)
        assert picture.getexif()[EXIF_MAKE] == "Camera"
        assert picture.getexif().get(EXIF_ORIENTATION, 1) == 1


def test_zip_holds_every_stage_and_a_contact_sheet(page: Page, dark_photo: Path) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    with page.expect_download() as started:
        page.locator("#download-ZIP").click()
    names = zipfile.ZipFile(started.value.path()).namelist()
    for name in EXPERIMENTS:
        assert {f"dark-{name}-{stage}.png" for stage in Stage} <= set(names)
    assert "dark-contact-sheet.png" in names


@pytest.mark.parametrize(
    ("name", "message"),
    [("text.png", "can't be read as a photo"), ("video.mp4", "Invalid file type")],
)
def test_file_that_is_no_photo_gets_a_message(
    page: Page, tmp_path: Path, name: str, message: str
) -> None:
    broken = tmp_path / name
    broken.write_bytes(b"\0\0\0\x18ftypmp42 this is no picture")
    upload(page, broken)
    expect(page.get_by_text(message).first).to_be_visible(timeout=NETWORKS_TIMEOUT)
    expect(page.get_by_text("/tmp")).to_have_count(0)  # no path on the server
    expect(page.locator("#output-join img")).to_have_count(0)


def test_two_visitors_see_their_own_photos(browser: Browser, server: str, tmp_path: Path) -> None:
    pages = [browser.new_page() for _ in range(2)]
    for k, page in enumerate(pages):
        path = tmp_path / f"photo{k}.png"
        Image.new("RGB", (32 + 16 * k, 24), (10, 5 * k, 8)).save(path)
        page.goto(server)
        upload(page, path)
    for k, page in enumerate(pages):
        wait_for_all(page)
        assert download(page, "#output-join img").shape == (24, 32 + 16 * k, 3)
        page.close()


def readme_block(language: str, containing: str) -> str:
    """The code of README that shows how to call a running demo."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if containing in block)


def test_readme_calls_the_demo_from_python(
    server: str, dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(dark_photo).save(tmp_path / "dark.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    results: dict[str, Any] = {}
    block = readme_block("python", "gradio_client").replace(README_ADDRESS, server)
    exec(compile(block, "README.md", "exec"), results)
    expected = retinex.enhance("dark.jpg", "join")
    for path, stage in zip(results["stages"], COMPUTED_STAGES, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected.stages[stage])
    assert results["details"]["device"] == expected.device
    assert results["details"]["seconds"] > 0


def test_readme_calls_the_demo_from_a_shell(server: str, dark_photo: Path, tmp_path: Path) -> None:
    Image.open(dark_photo).save(tmp_path / "dark.jpg", quality=95)
    block = readme_block("bash", "curl").replace(README_ADDRESS, server)
    answer = subprocess.run(
        ["bash", "-euc", block], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "event: complete" in answer
    data = json.loads(answer.split("data: ")[-1])
    assert len(data) == len(EXPERIMENTS) + 1
    assert data[-1].keys() == EXPERIMENTS.keys()


def test_one_pixel_is_a_photo(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (20, 10, 5)).save(path)
    upload(page, path)
    expect(page.locator("#status")).to_contain_text("1×1 pixels:", timeout=NETWORKS_TIMEOUT)
