"""The demo as a visitor meets it: a real server, a real browser, real photos."""

import asyncio
import base64
import copy
import errno
import gc
import gzip
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import safehttpx
from axe_playwright_python.sync_playwright import Axe
from conftest import FAILED
from gradio_client import Client, handle_file
from PIL import Image, ImageCms
from playwright.sync_api import Browser, Page, expect, sync_playwright

import demo as demo_program
import retinex
from retinex import (
    EXPERIMENTS,
    Adjustments,
    Enhancement,
    Stage,
    adjust,
    device,
)
from retinex.demo import deletion, fetching, gr, gradio_mcp, inputs, networks, without_servers
from retinex.demo.captions import name_titles
from retinex.demo.colour_map import colour
from retinex.demo.deletion import (
    SECONDS_UPLOADS_ARE_KEPT,
    delete_abandoned_folders,
    delete_old_files,
    seconds_to_keep,
    touch_files,
)
from retinex.demo.endpoints import write_stages
from retinex.demo.fetching import limit_fetching
from retinex.demo.results import View
from retinex.demo.settings import Settings, parse_arguments
from retinex.demo.statistics import HISTOGRAM_BINS, measure
from retinex.experiments import DEFAULT_EXPERIMENT, GROUPS
from retinex.inference import MODELS_FOLDER, CombinedEnhancer
from retinex.metrics import psnr, psnr_gt_mean, ssim
from retinex.stages import COMPUTED_STAGES

ROOT = Path(__file__).parent.parent
ARTIFACTS = ROOT / "artifacts"
MAX_MEGAPIXELS = 1
DEVICE = device.Device.CPU
"""Where the demo runs, and what it is compared with: a timing would choose for each anew."""
README_ADDRESS = "http://127.0.0.1:7860"
EXIF_MAKE, EXIF_ORIENTATION = 0x010F, 0x0112
NETWORKS_TIMEOUT = 120_000  # ms; slow machines are not what is tested here
SIZES = {"desk": (1440, 1000), "phone": (390, 844)}
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
LARGEST_SHIFT = 0.1
"""Cumulative layout shift that the Web Vitals call good."""
SUM_LAYOUT_SHIFTS = """
window.layoutShift = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.layoutShift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""

COUNT_PICTURES = """
window.seen = {};
new MutationObserver(() => {
    const running = document.querySelector('#status').textContent.match(/Running (.*) \\(/);
    if (running) seen[running[1]] = document.querySelectorAll(
        '#stages .stage img[src*="large"]').length;
}).observe(document.body, { childList: true, subtree: true, characterData: true });
"""

FILM_RED_AND_BLUE = """
const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
const draw = (colour, left) => {
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    context.fillRect(left, 0, 160, 240);
};
setInterval(() => { draw("red", 0); draw("blue", 160); }, 50);
navigator.mediaDevices.getUserMedia = async ({ video }) => {
    window.wanted = video;
    return canvas.captureStream();
};
0;
"""
"""A camera whose pictures are red on the left and blue on the right."""

expect.set_options(timeout=NETWORKS_TIMEOUT)


def find_chromium() -> str | None:
    """Return an installed Chromium; None leaves it to Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Server:
    """A demo that runs: its process, where it is, and what it has printed and logged so far."""

    process: subprocess.Popen[str]
    address: str
    printed: Path
    log: Path


@cache
def enhance_all(photo: Path) -> dict[str, Enhancement]:
    """Enhance a photo with every experiment, those that share a Decom-Net as one, as the demo."""
    groups = (CombinedEnhancer(names, DEVICE).enhance(photo) for names in GROUPS)
    return {result.experiment: result for result in chain(*groups)}


def start(command: list[str], folder: Path, logs: Path, **environment: str) -> Server:
    """Start a demo on a free port in `folder`; wait until it serves."""
    printed, log = logs / "printed", logs / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment |= {"CI": "true", "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    if not any("Running on local URL" in line for line in process.stdout):
        pytest.fail(f"{command} ended with {process.wait()}: {log.read_text()}")
    threading.Thread(target=keep, args=(process.stdout, printed), daemon=True).start()
    return Server(process, f"http://127.0.0.1:{port}", printed, log)


def keep(lines: Iterable[str], file: Path) -> None:
    """Write lines into a file as they come."""
    with file.open("w", buffering=1) as stream:
        stream.writelines(lines)


def stop(server: Server) -> None:
    server.process.terminate()
    server.process.wait(timeout=60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start `python demo.py` once for all tests."""
    logs = tmp_path_factory.mktemp("demo")
    settings = {"RETINEX_MAX_MEGAPIXELS": str(MAX_MEGAPIXELS), "RETINEX_DEVICE": DEVICE}
    server = start([sys.executable, "demo.py"], ROOT, logs, **settings)
    yield server
    stop(server)


@pytest.fixture(scope="module")
def server(demo: Server) -> str:
    return demo.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(), args=arguments + camera, timeout=NETWORKS_TIMEOUT
        )
        yield chromium
        chromium.close()


def open_page(browser: Browser, server: str, size: str, theme: str) -> Page:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(NETWORKS_TIMEOUT)
    page.add_init_script(SUM_LAYOUT_SHIFTS)
    page.goto(f"{server}?__theme={theme}")
    return page


def keep_screenshot_of_failure(page: Page, test: pytest.Item) -> None:
    if test.stash.get(FAILED, False):
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{test.name}.png", full_page=True)


@pytest.fixture
def page(browser: Browser, server: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the demo; keep a screenshot of how a failed test left it."""
    size, _, theme = getattr(request, "param", "desk").partition("-")
    page = open_page(browser, server, size, theme or "light")
    yield page
    keep_screenshot_of_failure(page, request.node)
    page.close()


@pytest.fixture(scope="module")
def page_with_results(browser: Browser, server: str, dark_photo: Path) -> Iterator[Page]:
    page = open_page(browser, server, "desk", "light")
    upload(page, dark_photo)
    wait_for_all(page)
    yield page
    page.close()


@pytest.fixture
def finished(page_with_results: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Show the page on which all experiments have run on the dark photo; tests tidy up."""
    open_tab(page_with_results, Stage.OUTPUT)
    yield page_with_results
    keep_screenshot_of_failure(page_with_results, request.node)


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#photo input[type=file]", path)


def wait_for_all(page: Page, size: str = "240×160") -> None:
    """Wait until all experiments have run on the photo of this size."""
    done = f"{size} pixels, {len(EXPERIMENTS)} of {len(EXPERIMENTS)} experiments"
    expect(page.locator("#status")).to_contain_text(done, timeout=NETWORKS_TIMEOUT)


def wait_for_example(page: Page) -> None:
    wait_for_all(page, "600×400")


def record_status(page: Page) -> None:
    """Collect in `window.said` what the status line says from now on."""
    page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('#status')"
        ".textContent)).observe(document.querySelector('#status'), {childList: true, subtree: true,"
        "characterData: true})"
    )


def wait_until_said(page: Page, text: str) -> None:
    """Wait until the status line has said so, since `record_status`, however shortly."""
    page.wait_for_function("text => said.some(line => line.includes(text))", arg=text)


def open_tab(page: Page, stage: Stage) -> None:
    """Open a stage's tab."""
    open_tab_named(page, stage.label)


def open_tab_named(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def see(page: Page, selector: str) -> None:
    """Scroll to a part of the page, as browsers load pictures when they come near; look at it."""
    page.locator(selector).scroll_into_view_if_needed()
    expect(page.locator(f"{selector} img")).to_be_visible()


def download(page: Page, selector: str) -> np.ndarray:
    """Fetch the file behind the picture that the page shows."""
    source = page.locator(selector).last.get_attribute("src")
    assert source is not None
    assert source.split("?")[0].endswith(".png")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())))


@pytest.fixture(scope="module")
def dark_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of an example photo, so that the networks don't take long."""
    path = tmp_path_factory.mktemp("photos") / "dark.png"
    Image.open(ROOT / "examples" / "coffee.jpg").crop((150, 50, 390, 210)).save(path)
    return path


@pytest.fixture(scope="module")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 900×600 pixels, on which the networks take long enough to be interrupted."""
    path = tmp_path_factory.mktemp("photos") / "large.jpg"
    Image.open(ROOT / "examples" / "coffee.jpg").resize((900, 600)).save(path)
    return path


@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_opens_with_an_example_already_enhanced(page: Page) -> None:
    wait_for_example(page)
    expected = retinex.enhance(ROOT / "examples" / "coffee.jpg", device=DEVICE).output
    np.testing.assert_array_equal(download(page, "#before-after img"), expected)
    expect(page.locator("#best-at")).to_contain_text(EXPERIMENTS[DEFAULT_EXPERIMENT].best_at)
    for name in EXPERIMENTS:
        see(page, f"#output-{name}")


def test_every_tab_shows_what_inference_computes(finished: Page, dark_photo: Path) -> None:
    expected = {name: enhance_all(dark_photo)[name].stages for name in EXPERIMENTS}
    for stage in Stage:
        open_tab(finished, stage)
        for name, experiment in EXPERIMENTS.items():
            see(finished, f"#{stage}-{name}")
            expect(finished.locator(f"#{stage}-{name}")).to_contain_text(experiment.title)
            picture = download(finished, f"#{stage}-{name} img")
            np.testing.assert_array_equal(picture, expected[name][stage])


def test_results_name_experiment_time_and_device(finished: Page) -> None:
    expect(finished.locator("#status")).to_contain_text(f"Runs on {DEVICE.label}")
    for name, experiment in EXPERIMENTS.items():
        seconds = r"\d+\.\d s for both" if "split" in name else r"\d+\.\d s"
        title = re.escape(experiment.title)
        expected = re.compile(rf"{title} · {seconds} on {DEVICE.label}")
        expect(finished.locator(f"#output-{name}")).to_contain_text(expected)
        expect(finished.locator(f"#facts-{name} svg")).to_be_visible()
    title = EXPERIMENTS[DEFAULT_EXPERIMENT].title
    expect(finished.locator("#before-after")).to_contain_text(f"{title} · ")


def test_pictures_have_alternative_texts(finished: Page) -> None:
    for name, experiment in EXPERIMENTS.items():
        picture = finished.locator(f"#output-{name} img")
        expect(picture).to_have_attribute(
            "alt", f"{Stage.OUTPUT.label} by the experiment “{experiment.title}”"
        )
    before, after = finished.locator("#before-after img").all()
    expect(before).to_have_attribute("alt", "Before: the dark photo")
    expect(after).to_have_attribute("alt", "After: the enhanced photo")


def test_facts_are_those_of_the_pictures(finished: Page, dark_photo: Path) -> None:
    before = measure(np.asarray(Image.open(dark_photo)))
    for name in EXPERIMENTS:
        after = measure(enhance_all(dark_photo)[name].output)
        assert after.mean_luminance > before.mean_luminance
        facts = finished.locator(f"#facts-{name}")
        for text in (
            f"Mean luminance {before.mean_luminance:.0%} → {after.mean_luminance:.0%}",
            f"clipped {before.clipped_share:.1%} → {after.clipped_share:.1%}",
            f"noise {before.noise:.1f} → {after.noise:.1f} of 255",
        ):
            expect(facts).to_contain_text(text)
        heights = [
            np.array(re.findall(r",([\d.]+)", points), float)
            for polygon in facts.locator("polygon").all()
            if (points := polygon.get_attribute("points"))
        ]
        tallest = [HISTOGRAM_BINS * at.argmin() / len(at) for at in heights]
        modes = [picture.histogram.argmax() for picture in (before, after)]
        np.testing.assert_allclose(tallest, modes, atol=2)


def test_grid_shows_everything_and_opens_large_by_keyboard(finished: Page) -> None:
    open_tab_named(finished, "All")
    thumbnails = finished.locator("#grid .grid-container button")
    expect(thumbnails).to_have_count(len(EXPERIMENTS) * len(Stage))
    title = next(iter(EXPERIMENTS.values())).title
    expect(thumbnails.nth(1)).to_have_accessible_name(f"{title}: {Stage.REFLECTANCE.label}")
    thumbnails.nth(1).focus()
    finished.keyboard.press("Enter")
    caption = finished.locator("#grid .preview .caption")
    expect(caption).to_have_text(f"{title}: {Stage.REFLECTANCE.label}")
    box = finished.locator("#grid .preview").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == SIZES["desk"]
    finished.keyboard.press("ArrowRight")
    expect(caption).to_have_text(f"{title}: {Stage.ILLUMINATION.label}")
    for _ in range(len(EXPERIMENTS) * len(Stage) + 9):  # past the last of its buttons
        finished.keyboard.press("Tab")
    assert finished.evaluate("document.activeElement.closest('#grid .preview') !== null")
    finished.keyboard.press("Escape")
    expect(caption).to_have_count(0)


def test_illumination_in_colours(finished: Page, dark_photo: Path) -> None:
    status = finished.locator("#status").inner_text()
    name, stage = next(iter(EXPERIMENTS)), Stage.ILLUMINATION
    open_tab(finished, stage)
    picture = finished.locator(f"#{stage}-{name} img")
    gray = picture.get_attribute("src")
    legend = finished.locator(".colour-legend:visible")
    expect(legend).to_have_count(0)
    finished.locator(f"#colours-{stage}").get_by_label("Show in colours").check()
    expect(picture).not_to_have_attribute("src", str(gray))
    expect(legend).to_be_visible()
    expected = colour(enhance_all(dark_photo)[name].stages[stage])
    np.testing.assert_array_equal(download(finished, f"#{stage}-{name} img"), expected)
    finished.locator(f"#colours-{stage}").get_by_label("Show in colours").uncheck()
    expect(picture).to_have_attribute("src", str(gray))
    assert finished.locator("#status").inner_text() == status  # its time is that of the networks


def test_reference_scores_every_output(finished: Page, dark_photo: Path, tmp_path: Path) -> None:
    reference = np.asarray(Image.open(dark_photo)) * np.uint8(4)
    Image.fromarray(reference).save(tmp_path / "reference.png")
    Image.fromarray(reference[:-1]).save(tmp_path / "smaller.png")
    finished.get_by_text("Score against a reference").click()
    finished.set_input_files("#reference input[type=file]", tmp_path / "reference.png")
    for name in EXPERIMENTS:
        output = enhance_all(dark_photo)[name].output
        scores = (
            f"PSNR {psnr(output, reference):.2f} dB, {psnr_gt_mean(output, reference):.2f} dB once "
            f"brightness is matched · SSIM {ssim(output, reference):.3f} · "
            "compared with reference.png"
        )
        expect(finished.locator(f"#facts-{name}")).to_contain_text(scores)
    finished.locator("#reference").get_by_label("Remove Image").or_(
        finished.locator("#reference button[aria-label='Clear']")
    ).first.click()
    expect(finished.locator(".facts", has_text="PSNR")).to_have_count(0)
    finished.set_input_files("#reference input[type=file]", tmp_path / "smaller.png")
    expect(finished.get_by_text("It has 240×159 pixels, the dark photo 240×160")).to_be_visible()


def test_examples_and_own_photos_in_turn(page: Page, dark_photo: Path) -> None:
    wait_for_example(page)
    page.get_by_label("Example: flower").click()
    flower = retinex.open_photo(ROOT / "examples" / "flower.jpg").rgb
    wait_for_all(page, f"{flower.shape[1]}×{flower.shape[0]}")
    open_tab(page, Stage.INPUT)
    np.testing.assert_array_equal(download(page, f"#{Stage.INPUT}-join img"), flower)
    upload(page, dark_photo)
    wait_for_all(page)


def test_a_photo_that_browsers_do_not_show_is_enhanced(
    page: Page, dark_photo: Path, tmp_path: Path
) -> None:
    Image.open(dark_photo).save(tmp_path / "dark.tif")
    upload(page, tmp_path / "dark.tif")
    wait_for_all(page)
    shown = page.locator("#photo img")
    assert shown.evaluate("picture => picture.naturalWidth") > 0
    assert "can't show this file" in unquote(shown.get_attribute("src"))
    page.get_by_label("Remove Image").first.click()
    upload(page, dark_photo)
    expect(shown).to_have_attribute("src", re.compile("dark"))


def test_takes_a_photo_that_is_dropped_or_pasted(page: Page, dark_photo: Path) -> None:
    wait_for_example(page)
    page.evaluate("content => { window.content = content; }", [*dark_photo.read_bytes()])
    dropped = page.evaluate_handle("""() => {
        const transfer = new DataTransfer();
        const type = { type: 'image/png' };
        transfer.items.add(new File([new Uint8Array(content)], 'dropped.png', type));
        return transfer;
    }""")
    page.dispatch_event(
        "#photo button:has-text('Drop Image Here')", "drop", {"dataTransfer": dropped}
    )
    wait_for_all(page)
    page.get_by_label("Remove Image").first.click()
    expect(page.locator("#before-after img")).to_have_count(0)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("""() => {
        const photo = new Blob([new Uint8Array(content)], { type: 'image/png' });
        return navigator.clipboard.write([new ClipboardItem({ 'image/png': photo })]);
    }""")
    page.get_by_label("Paste from clipboard").click()
    wait_for_all(page)


def test_takes_a_photo_with_the_camera(page: Page) -> None:
    wait_for_example(page)
    page.evaluate(FILM_RED_AND_BLUE)
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.get_by_label("capture photo").click()
    wait_for_all(page, "320×240")
    open_tab(page, Stage.INPUT)
    picture = download(page, f"#{Stage.INPUT}-join img")[:, :, :3]
    left, right = picture[:, :100].mean(axis=(0, 1)), picture[:, -100:].mean(axis=(0, 1))
    assert left[0] > 200 > 50 > left[2]  # not mirrored
    assert right[2] > 200 > 50 > right[0]
    assert page.evaluate("wanted.facingMode") == {"ideal": "environment"}


def test_stop_ends_a_run_and_keeps_what_is_done(page: Page, large_photo: Path) -> None:
    wait_for_example(page)
    upload(page, large_photo)
    expect(page.locator("#status")).to_contain_text(f"(2–3 of {len(EXPERIMENTS)})")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_contain_text("Stopped: 900×600 pixels")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#before-after img").last).to_be_visible()
    first, *_, last = EXPERIMENTS.values()
    page.locator("#compared").get_by_label(last.title, exact=True).check()
    expect(page.locator("#before-after img")).to_have_count(0)
    page.locator("#compared").get_by_label(first.title, exact=True).check()
    expect(page.locator("#before-after img").last).to_be_visible()
    output = page.locator(f"#output-{first.name} img")
    former = str(output.get_attribute("src"))
    page.get_by_label("number input for Strength").fill("0.5")
    expect(output).not_to_have_attribute("src", former)
    adjusted = output.get_attribute("src")
    open_tab_named(page, "All")
    expect(page.locator(f"#grid img[src='{adjusted}']")).to_be_visible()


@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_the_whole_way_on_a_phone(page: Page, dark_photo: Path, tmp_path: Path) -> None:
    """Upload, before/after slider, a control, the tabs, a download and an error."""
    check_that_nothing_jumps(page, dark_photo)
    result = page.locator("#before-after").bounding_box()
    assert result is not None
    assert 0 <= result["y"] < SIZES["phone"][1] / 4, "what was chosen hides its result"

    handle = page.get_by_role("slider", name="Border between before and after")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 0.25 * SIZES["phone"][0], y, steps=5)
    page.mouse.up()
    expect(handle).not_to_have_attribute("aria-valuenow", "50")
    assert int(str(handle.get_attribute("aria-valuenow"))) < 50

    after = page.locator("#before-after img").last
    former = str(after.get_attribute("src"))
    strength = page.get_by_label("number input for Strength")
    strength.fill("0")
    strength.press("Enter")
    expect(after).not_to_have_attribute("src", former)
    photo = np.asarray(Image.open(dark_photo))
    np.testing.assert_array_equal(download(page, "#before-after img"), photo)

    for stage in Stage:
        open_tab(page, stage)
        for name in EXPERIMENTS:
            see(page, f"#{stage}-{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]

    with page.expect_download() as started:
        page.locator("#download-JPEG").click()
    assert Image.open(started.value.path()).size == (240, 160)

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    upload(page, broken)
    message = page.locator("#status", has_text="This file can't be read as a photo")
    expect(message).to_be_visible()
    expect(page.locator(".toast-body")).to_have_count(1)
    expect(page.locator("#status .error")).to_be_hidden()  # would lie over the message
    width = message.evaluate("part => part.getBoundingClientRect().right")
    assert width <= SIZES["phone"][0]


def test_a_photo_that_replaces_another_runs_once(
    page: Page, dark_photo: Path, tmp_path: Path
) -> None:
    upload(page, dark_photo)
    wait_for_all(page)
    record_status(page)
    for width, height in ((200, 160), (160, 120), (1, 1)):
        path = tmp_path / f"{width}.png"
        Image.open(dark_photo).crop((0, 0, width, height)).save(path)
        upload(page, path)
        wait_for_all(page, f"{width}×{height}")
        assert download(page, "#output-join img").shape == (height, width, 3)
    first, last = f"(1 of {len(EXPERIMENTS)})", f"({len(EXPERIMENTS)} of {len(EXPERIMENTS)})"
    said = page.evaluate("said")
    assert not any("Stopped" in text for text in said)  # as a second run would have been
    turns = [number for text in said for number in (first, last) if number in text]
    assert [turn for turn, _ in groupby(turns)] == [first, last] * 3


def test_what_counts_as_another_choice(dark_photo: Path, tmp_path: Path) -> None:
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    results = demo_program.new_results(tmp_path, Path("a"), retinex.open_photo(dark_photo), view)
    first = demo_program.choose("a", None, None)
    assert demo_program.choose("a", first, None) is first  # announced twice, waiting
    first.begun = True
    assert demo_program.choose("a", first, results) is first  # announced twice, running
    assert demo_program.choose("a", first, None) is not first  # refused, or no longer kept
    other = demo_program.choose("b", first, results)
    assert other.path == "b"
    assert results.stopped
    again = demo_program.choose("a", other, results)
    assert again is not first
    assert demo_program.choose(None, again, results).path is None
    assert demo_program.choose("a", first, results) is not first  # stopped


@pytest.mark.parametrize("channels", [3, 4])
def test_visitors_photos_wait_on_disk(tmp_path: Path, channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 900, channels), np.uint8)
    path = tmp_path / "noise.png"
    Image.fromarray(noise).save(path)
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    tracemalloc.start()
    visitors = [
        demo_program.new_results(tmp_path, path, retinex.open_photo(path), view) for _ in range(10)
    ]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < noise[:, :, 0].nbytes
    for photo in (results.photo for results in visitors):
        assert np.array_equal(photo.rgb, noise[:, :, :3])
        assert photo.alpha is None if channels == 3 else np.array_equal(photo.alpha, noise[:, :, 3])


def test_a_photo_replaced_while_it_is_opened_is_not_enhanced(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    with without_servers(), gr.Blocks():
        page = demo_program.lay_out_page("", [])
    monkeypatch.setattr(demo_program, "run_networks", lambda *_: pytest.fail("networks ran"))
    first = demo_program.choose(str(dark_photo), None, None)
    view = [DEFAULT_EXPERIMENT, False, False, *astuple(Adjustments())]
    chosen = str(dark_photo), first
    updates = demo_program.take_photo(page, settings, tmp_path, *chosen, None, None, *view)
    next(updates)  # the page is cleared, the photo isn't open yet
    demo_program.choose("another", first, None)
    assert len(list(updates)) == 1  # which keeps its results, to be deleted


def test_a_broken_reference_is_not_taken_for_the_photo(dark_photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    photo = retinex.open_photo(dark_photo)
    with pytest.raises(gr.Error, match="can't be read") as error:
        inputs.open_reference(str(tmp_path / "broken.png"), photo, settings)
    assert "reference" in error.value.title


@pytest.mark.parametrize("size", ["inf", "nan", "0", "-3", "many"])
def test_a_limit_that_is_none_is_refused_at_the_start(
    size: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETINEX_MAX_MEGAPIXELS", size)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with pytest.raises(SystemExit):
        parse_arguments()
    assert "expected a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "environment"), [(("--device", "tpu"), "auto"), ((), "tpu")], ids=["option", "env"]
)
def test_a_device_that_is_none_is_refused_at_the_start(
    options: tuple[str, ...],
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RETINEX_DEVICE", environment)
    monkeypatch.setattr(sys, "argv", ["demo.py", *options])
    with pytest.raises(SystemExit):
        parse_arguments()
    complaint = capsys.readouterr().err
    assert all(name in complaint.splitlines()[-1] for name in (*retinex.Device, "'tpu'"))


def test_variables_without_a_value_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    for name in ("DEVICE", "MODELS", "MAX_MEGAPIXELS"):
        monkeypatch.delenv(f"RETINEX_{name}", raising=False)
    defaults = parse_arguments()
    for name in ("DEVICE", "MODELS", "MAX_MEGAPIXELS"):
        monkeypatch.setenv(f"RETINEX_{name}", "")
    assert parse_arguments() == defaults


def test_an_address_that_is_not_to_be_had_is_told_of(tmp_path: Path) -> None:
    address = {"GRADIO_SERVER_NAME": "192.0.2.1", "GRADIO_SERVER_PORT": "7865"}  # of no machine
    demo = subprocess.run(
        [sys.executable, ROOT / "demo.py"],
        env=os.environ | address | {"TMPDIR": str(tmp_path), "CI": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert demo.returncode == 1
    assert demo.stderr.splitlines()[-1].startswith("demo.py: ")
    assert "Traceback" not in demo.stderr


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [("RETINEX_DEVICE", "cuda", "can't run on CUDA"), ("RETINEX_MODELS", "nowhere", "there is no")],
)
def test_what_the_environment_asks_for_counts(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "why_not_cuda", lambda: "no NVIDIA GPU was found")
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=message):
        demo_program.main()


def test_what_visitors_leave_is_deleted_and_what_they_name_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def launch(*_: object, **__: object) -> None:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        sent = uploads / "sent.png"
        sent.write_bytes(b"a photo")
        deadline = time.monotonic() + 60
        while sent.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        launched.append(safehttpx.AsyncSecureTransport)

    launched: list[object] = []
    monkeypatch.setattr(gr.Blocks, "launch", launch)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    monkeypatch.setenv("GRADIO_TEMP_DIR", "as before")
    for place, name in (
        (gradio_mcp, "DEFAULT_TEMP_DIR"),
        (safehttpx, "AsyncSecureTransport"),
        (fetching.processing_utils, "PUBLIC_HOSTNAME_WHITELIST"),
    ):
        monkeypatch.setattr(place, name, copy.copy(getattr(place, name)))  # main changes them
    monkeypatch.setattr(demo_program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(deletion, "seconds_to_keep", lambda free: -50)  # 50 s from now
    monkeypatch.setattr(deletion, "SECONDS_BETWEEN_DELETIONS", 0.01)

    demo_program.main()

    assert launched == [fetching.LimitedTransport]


def test_why_networks_fail_reaches_the_visitor(
    dark_photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise retinex.DeviceError(retinex.Device.CUDA, "out of memory")

    monkeypatch.setattr(networks, "load_enhancer", fail)
    settings = Settings(retinex.Device.CUDA, MODELS_FOLDER, MAX_MEGAPIXELS)
    with pytest.raises(gr.Error) as caught:
        networks.run_networks((DEFAULT_EXPERIMENT,), retinex.open_photo(dark_photo), settings)
    assert "out of memory" in caught.value.message


@pytest.mark.parametrize("failing", ["add", "write_coloured"])
def test_a_run_whose_results_cannot_be_written_ends(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    view = View(DEFAULT_EXPERIMENT, (Stage.ILLUMINATION,), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    monkeypatch.setattr(results, failing, fill_disk)
    page = named_page()
    updates = demo_program.run_experiments(page, results, settings)
    assert "Running" in next(updates)[page.status]
    ended = next(updates)
    assert "Running" not in ended[page.status]
    assert not ended[page.stop].interactive
    with pytest.raises(gr.Error, match="disk is full"):
        next(updates)
    assert results.stopped, "the photo can be chosen again"


def test_colours_that_find_the_disk_full_at_last_are_left_out(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    view = View(DEFAULT_EXPERIMENT, (Stage.ILLUMINATION,), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    demo_program.add_enhancements(results, [retinex.enhance(dark_photo, device=DEVICE)])
    monkeypatch.setattr(results, "write_coloured", fill_disk)
    told = collect_warnings(monkeypatch)
    page = named_page()
    ended = demo_program.end_run(page, results, settings)
    assert "Running" not in ended[page.status]
    assert not ended[page.stop].interactive
    assert "disk is full" in told[0]


def test_a_reference_that_a_full_disk_has_no_room_for_is_left_out(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    demo_program.set_reference(results, str(dark_photo), settings)
    assert np.array_equal(results.reference, results.photo.rgb)
    told = collect_warnings(monkeypatch)
    monkeypatch.setattr(np, "save", fill_disk)
    demo_program.set_reference(results, str(dark_photo), settings)
    assert results.reference is None
    assert "disk is full" in told[0]
    assert list(results.folder.iterdir()) == []


def test_of_two_references_opened_at_once_one_is_kept_under_its_own_name(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    photo = retinex.open_photo(dark_photo)
    results = demo_program.new_results(tmp_path, dark_photo, photo, view)
    pictures = {"first": photo.rgb // 2, "second": photo.rgb}

    def open_reference(path: str, *_: Any) -> np.ndarray:
        if path == "first":  # takes long
            demo_program.set_reference(results, "second", settings)
        return pictures[path]

    monkeypatch.setattr(demo_program, "open_reference", open_reference)
    demo_program.set_reference(results, "first", settings)
    np.testing.assert_array_equal(results.reference, pictures[results.reference_source])


def test_a_run_ends_when_its_results_are_deleted_as_old(dark_photo: Path, tmp_path: Path) -> None:
    settings = Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    view = View(DEFAULT_EXPERIMENT, (Stage.ILLUMINATION,), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    page = named_page()
    updates = demo_program.run_experiments(page, results, settings)
    next(updates)
    assert "Running" in next(updates)[page.status]
    assert list(results.measured) == [DEFAULT_EXPERIMENT]
    demo_program.delete_results(results)
    (ended,) = updates
    assert "Running" not in ended[page.status]
    assert not ended[page.stop].interactive


def test_a_full_disk_is_told_of_by_controls_downloads_and_endpoints(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, view = named_page(), View("join", (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    enhancement = retinex.enhance(dark_photo, "join", DEVICE)
    demo_program.add_enhancements(results, [enhancement])
    monkeypatch.setattr("retinex.photo.write_atomically", fill_disk)
    brighter = replace(view, adjustments=Adjustments(exposure=1))
    for do in (
        lambda: demo_program.readjust(page, results, brighter),
        lambda: demo_program.readjust_others(page, results),
        lambda: demo_program.prepare_download(demo_program.Download.JPEG, results, "join"),
        lambda: write_stages(enhancement, str(dark_photo), COMPUTED_STAGES),
    ):
        with pytest.raises(gr.Error, match="disk is full"):
            do()


def test_a_photo_too_long_for_jpeg_is_told_of(tmp_path: Path) -> None:
    long = np.zeros((1, 65501, 3), np.uint8)
    Image.fromarray(long).save(tmp_path / "long.png")
    photo = retinex.open_photo(tmp_path / "long.png")
    view = View("join", (), Adjustments())
    results = demo_program.new_results(tmp_path, tmp_path / "long.png", photo, view)
    demo_program.add_enhancements(results, [retinex.enhance(photo, "join", DEVICE)])
    with pytest.raises(gr.Error, match=r"^'The photo has 65501×1 pixels.*as PNG"):
        demo_program.prepare_download(demo_program.Download.JPEG, results, "join")
    assert demo_program.prepare_download(demo_program.Download.PNG, results, "join").exists()


def test_results_that_are_forgotten_are_deleted(dark_photo: Path, tmp_path: Path) -> None:
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    demo_program.add_enhancements(results, [retinex.enhance(dark_photo)])
    assert list(tmp_path.rglob("*.png"))
    del results
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_another_photo_ends_the_run_of_the_former_which_can_be_chosen_again(
    page: Page, dark_photo: Path, large_photo: Path
) -> None:
    wait_for_example(page)
    record_status(page)
    upload(page, large_photo)
    wait_until_said(page, f"(1 of {len(EXPERIMENTS)})")
    upload(page, dark_photo)
    upload(page, large_photo)
    wait_until_said(page, "Stopped: 900×600 pixels")
    assert not any("900×600 pixels, 5 of 5" in text for text in page.evaluate("said"))
    record_status(page)
    wait_until_said(page, f"(2–3 of {len(EXPERIMENTS)})")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_contain_text("Stopped: 900×600 pixels")
    page.evaluate(COUNT_PICTURES)
    upload(page, large_photo)
    wait_for_all(page, "900×600")
    seen = page.evaluate("seen")
    assert list(seen) == [name_titles(names) for names in GROUPS]
    done = [0, *accumulate(map(len, GROUPS))]
    assert all(pictures >= k for k, pictures in zip(done, seen.values(), strict=False))


def test_before_after_slider_moves_by_keyboard_from_edge_to_edge(finished: Page) -> None:
    handle = finished.get_by_role("slider", name="Border between before and after")
    expect(handle).to_have_attribute("aria-valuenow", "50")
    handle.focus()
    before = handle.bounding_box()
    finished.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "55")
    after = handle.bounding_box()
    assert before is not None and after is not None
    assert after["x"] > before["x"]
    for key, expected in (("End", "100"), ("ArrowLeft", "95"), ("Home", "0"), ("ArrowRight", "5")):
        finished.keyboard.press(key)
        expect(handle).to_have_attribute("aria-valuenow", expected)
    for _ in range(9):
        finished.keyboard.press("ArrowRight")


@pytest.mark.parametrize(
    ("page", "size"), [("desk", (600, 420)), ("phone", (400, 600))], indirect=["page"]
)
def test_before_and_after_lie_on_one_another(
    page: Page, tmp_path: Path, size: tuple[int, int]
) -> None:
    wait_for_example(page)
    Image.new("RGB", size, (20, 15, 10)).save(tmp_path / "dark.png")
    upload(page, tmp_path / "dark.png")
    after = page.locator("#before-after img").last
    expect(after).to_have_js_property("naturalHeight", size[1])
    before, after, box = (
        page.locator(f"#before-after {part}").bounding_box()
        for part in ("img >> nth=0", "img >> nth=1", ".slider-wrap")
    )
    assert before is not None and box is not None
    assert before == after
    assert before["y"] >= box["y"]
    assert before["y"] + before["height"] <= box["y"] + box["height"]


def swipe_up(page: Page, x: float, y: float) -> None:
    """Move a finger over the screen."""
    screen = page.context.new_cdp_session(page)
    screen.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, way in (("touchStart", 0), *(("touchMove", 20 * step) for step in range(1, 9))):
        points = [{"x": x, "y": y - way}]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    screen.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    screen.send("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_page_scrolls_where_the_picture_is(finished: Page) -> None:
    finished.evaluate("scrollTo(0, 0)")
    box = finished.locator("#before-after").bounding_box()
    assert box is not None
    finished.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    finished.mouse.wheel(0, 100)
    finished.wait_for_function("scrollY > 0")
    finished.evaluate("scrollTo(0, 0)")
    picture = finished.locator("#before-after img").first
    expect(picture).to_have_attribute("style", re.compile(r"scale\(1\)"))
    finished.keyboard.down("Control")
    finished.mouse.wheel(0, -100)
    expect(picture).not_to_have_attribute("style", re.compile(r"scale\(1\)"))
    finished.mouse.wheel(0, 1000)
    finished.keyboard.up("Control")
    expect(picture).to_have_attribute("style", re.compile(r"scale\(1\)"))
    assert finished.evaluate("scrollY") == 0
    swipe_up(finished, box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    finished.wait_for_function("scrollY > 0")
    finished.evaluate("scrollTo(0, 0)")


def test_accessible_to_everyone_on_a_desk(finished: Page) -> None:
    check_accessibility(finished)


@pytest.mark.parametrize("page", ["phone-dark"], indirect=True)
def test_accessible_to_everyone_on_a_dark_phone(page: Page) -> None:
    wait_for_example(page)
    check_accessibility(page)


def check_accessibility(page: Page) -> None:
    """Let axe-core look for violations of WCAG 2.1 A and AA, contrast included."""
    for tab in (Stage.OUTPUT.label, Stage.ILLUMINATION.label, "All"):
        open_tab_named(page, tab)
        found = Axe().run(page, options=AXE_RULES).response["violations"]
        problems = [(v["id"], n["target"], n["html"]) for v in found for n in v["nodes"]]
        assert problems == []


def test_nothing_jumps_while_results_arrive(page: Page, dark_photo: Path) -> None:
    check_that_nothing_jumps(page, dark_photo)


def check_that_nothing_jumps(page: Page, dark_photo: Path) -> None:
    """Take a page from its start to the results of a photo."""
    for part in ("#photo", "#examples", "#status"):
        expect(page.locator(part)).to_be_visible()
    page.evaluate("window.layoutShift = 0")  # of gradio's own start
    wait_for_example(page)
    upload(page, dark_photo)
    wait_for_all(page)
    assert page.evaluate("window.layoutShift") < LARGEST_SHIFT


def test_slider_compares_the_experiment_chosen(finished: Page) -> None:
    for name, experiment in EXPERIMENTS.items():
        finished.locator("#compared").get_by_label(experiment.title, exact=True).check()
        open_tab(finished, Stage.OUTPUT)
        output = finished.locator(f"#output-{name} img").get_attribute("src")
        assert output is not None
        after = finished.locator(f"#before-after img[src='{output}']")
        expect(after).to_be_visible()
        expect(finished.locator("#best-at")).to_contain_text(experiment.best_at)


def test_controls_change_the_output_without_the_networks(finished: Page, dark_photo: Path) -> None:
    status = finished.locator("#status").inner_text()
    before = download(finished, "#output-join img")
    first_source = finished.locator("#output-join img").get_attribute("src")
    strength = finished.get_by_label("number input for Strength")
    strength.fill("")  # as whoever types another number does
    strength.fill("0")
    strength.press("Enter")
    expect(finished.locator("#output-join img")).not_to_have_attribute("src", str(first_source))
    photo = np.asarray(Image.open(dark_photo))
    np.testing.assert_array_equal(download(finished, "#output-join img"), photo)
    assert not np.array_equal(before, photo)
    expect(finished.locator(".toast-body")).to_have_count(0)
    finished.get_by_role("button", name="Reset", exact=True).click()
    expect(finished.locator("#output-join img")).to_have_attribute("src", str(first_source))
    assert finished.locator("#status").inner_text() == status  # its times are those of the networks


def named_page() -> demo_program.Page:
    """A page whose parts are their names."""
    parts = {field.name: field.name for field in fields(demo_program.Page)}
    pictures = {stage: {name: f"{stage}-{name}" for name in EXPERIMENTS} for stage in Stage}
    facts = {name: f"facts-{name}" for name in EXPERIMENTS}
    return demo_program.Page(**parts | {"pictures": pictures, "facts": facts})


def test_a_reference_chosen_before_the_results_are_there_counts(
    dark_photo: Path, tmp_path: Path
) -> None:
    page, settings = named_page(), Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    with without_servers():
        events = demo_program.build_page(settings, tmp_path).fns.values()
    followers = {event.trigger_after: event for event in events}
    called = {event._id: getattr(event.fn, "func", None) for event in events}
    (run,) = (number for number, function in called.items() if function is demo_program.take_photo)
    last = run
    while last in followers:
        last = followers[last]._id
    assert called[last] is demo_program.compare_with_chosen
    reference = str(tmp_path / "reference.png")
    Image.open(dark_photo).point(lambda value: min(255, 4 * value)).save(reference)
    assert demo_program.compare_with_chosen(
        page, settings, reference, None, None
    ) == demo_program.unchanged(page)
    view = View("join", (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    demo_program.add_enhancements(results, [retinex.enhance(dark_photo, "join")])

    update = demo_program.compare_with_chosen(
        page, settings, reference, None, results
    )  # the run has ended
    again = demo_program.compare_with_chosen(page, settings, reference, None, results)

    assert "PSNR" in update["facts-join"]
    assert again == demo_program.unchanged(page)


def test_every_output_follows_a_control_moved_while_the_page_is_filled(
    dark_photo: Path, tmp_path: Path
) -> None:
    names = [DEFAULT_EXPERIMENT, "join"]
    page = named_page()
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    for name in names:
        demo_program.add_enhancements(results, [retinex.enhance(dark_photo, name, DEVICE)])
    demo_program.readjust(page, results, replace(view, adjustments=Adjustments(strength=0.5)))
    demo_program.show(page, results)  # as a run does when its next experiment is done

    update = demo_program.readjust_others(page, results)

    for name in names:
        shown = update[page.pictures[Stage.OUTPUT][name]].value["path"]
        expected = adjust(enhance_all(dark_photo)[name], Adjustments(strength=0.5))
        np.testing.assert_array_equal(np.asarray(Image.open(shown)), expected)


def test_every_output_follows_a_control_that_is_set_back(dark_photo: Path, tmp_path: Path) -> None:
    first, second = names = [DEFAULT_EXPERIMENT, "join"]
    page = named_page()
    view = View(first, (), Adjustments())
    results = demo_program.new_results(tmp_path, dark_photo, retinex.open_photo(dark_photo), view)
    for name in names:
        demo_program.add_enhancements(results, [retinex.enhance(dark_photo, name, DEVICE)])
    demo_program.show(page, results)
    demo_program.readjust(page, results, replace(view, adjustments=Adjustments(strength=0.5)))
    demo_program.readjust(page, results, replace(view, compared=second))

    update = demo_program.readjust_others(page, results)

    for name in names:
        shown = update[page.pictures[Stage.OUTPUT][name]].value["path"]
        np.testing.assert_array_equal(
            np.asarray(Image.open(shown)), enhance_all(dark_photo)[name].output
        )


def collect_warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What visitors are told from now on."""
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_: told.append(message))
    return told


def fill_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_photo_that_a_full_disk_has_no_room_for_is_told_of_and_leaves_nothing(
    dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "save", fill_disk)
    page, settings = named_page(), Settings(retinex.Device.CPU, MODELS_FOLDER, MAX_MEGAPIXELS)
    wanted = demo_program.Choice(str(dark_photo))
    updates = demo_program.take_photo(
        *(page, settings, tmp_path, wanted.path, wanted, None, None),
        *(DEFAULT_EXPERIMENT, False, False, *astuple(Adjustments())),
    )
    next(updates)
    assert "disk is full" in next(updates)[page.status]
    with pytest.raises(gr.Error, match="disk is full"):
        next(updates)
    assert wanted.begun, "the controls say that there is nothing to set"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("label", "field", "value"),
    [
        ("Protect highlights", "highlight_protection", 1.0),
        ("Denoise dark areas", "denoise", 0.8),
        ("Exposure, in stops", "exposure", -1.5),
    ],
)
def test_each_control_does_what_the_library_does(
    finished: Page, dark_photo: Path, label: str, field: str, value: float
) -> None:
    pictures = {name: finished.locator(f"#output-{name} img") for name in EXPERIMENTS}
    former = {name: str(picture.get_attribute("src")) for name, picture in pictures.items()}
    number = finished.get_by_label(f"number input for {label}")
    number.fill(str(value))
    number.press("Enter")
    for name, picture in pictures.items():
        expect(picture).not_to_have_attribute("src", former[name])
        expected = adjust(enhance_all(dark_photo)[name], Adjustments(**{field: value}))
        np.testing.assert_array_equal(download(finished, f"#output-{name} img"), expected)
    finished.get_by_role("button", name="Reset", exact=True).click()
    for name, picture in pictures.items():
        expect(picture).to_have_attribute("src", former[name])


def test_downloads_keep_name_and_metadata(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_MAKE], exif[EXIF_ORIENTATION] = "Camera", 6
    path = tmp_path / "street at night.jpg"
    Image.open(ROOT / "examples" / "cat.jpg").crop((0, 0, 96, 64)).save(path, exif=exif)
    upload(page, path)
    wait_for_all(page, "64×96")
    for kind, extension in (("PNG", ".png"), ("JPEG", ".jpg")):
        with page.expect_download() as started:
            page.locator(f"#download-{kind}").click()
        assert (
            started.value.suggested_filename == f"street at night-{DEFAULT_EXPERIMENT}{extension}"
        )
        picture = Image.open(started.value.path())
        assert picture.size == (64, 96)
        assert picture.getexif()[EXIF_MAKE] == "Camera"
        assert picture.getexif().get(EXIF_ORIENTATION, 1) == 1


def test_zip_holds_every_stage_and_a_contact_sheet(finished: Page) -> None:
    with finished.expect_download() as started:
        finished.locator("#download-ZIP").click()
    names = zipfile.ZipFile(started.value.path()).namelist()
    stages = {f"dark-{name}-{stage}.png" for name in EXPERIMENTS for stage in COMPUTED_STAGES}
    outputs = {f"adjusted/dark-{name}.png" for name in EXPERIMENTS}
    assert sorted(names) == sorted(stages | outputs | {"dark-input.png", "dark-contact-sheet.png"})


def test_what_cannot_be_enhanced_gets_a_clear_message(page: Page, tmp_path: Path) -> None:
    wait_for_example(page)
    for width, height in ((1200, 1000), (10_000, 10_000)):
        large = tmp_path / f"{width}.png"
        Image.new("1", (width, height)).save(large)
        upload(page, large)
        message = f"{width}×{height} pixels ({width * height / 1e6:.1f} megapixels)"
        expect(page.locator("#status")).to_contain_text(message)
    for name, message in (
        ("text.png", "can't be read as a photo"),
        ("video.mp4", "Invalid file type"),
    ):
        broken = tmp_path / name
        broken.write_bytes(b"\0\0\0\x18ftypmp42 this is no picture")
        upload(page, broken)
        expect(page.get_by_text(message).first).to_be_visible()
        expect(page.get_by_text("/tmp")).to_have_count(0)  # no path on the server
        expect(page.get_by_text("Traceback")).to_have_count(0)


def test_two_visitors_see_their_own_photos(browser: Browser, server: str, tmp_path: Path) -> None:
    pages = [browser.new_page() for _ in range(2)]
    for k, page in enumerate(pages):
        path = tmp_path / f"photo{k}.png"
        Image.new("RGB", (32 + 16 * k, 24), (10, 5 * k, 8)).save(path)
        page.goto(server)
        upload(page, path)
    for k, page in enumerate(pages):
        wait_for_all(page, f"{32 + 16 * k}×24")
        assert download(page, "#output-join img").shape == (24, 32 + 16 * k, 3)
        page.close()


def readme_block(language: str, containing: str) -> str:
    """The code of README that shows how to call a running demo."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if containing in block)


def run_readme(containing: str, server: str) -> dict[str, Any]:
    """Run README's Python code against `server`; return its variables."""
    block = readme_block("python", containing).replace(README_ADDRESS, server)
    results: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as thread:  # Playwright's event loop runs in this one
        thread.submit(exec, compile(block, "README.md", "exec"), results).result()
    return results


@pytest.fixture
def beside_dark_jpg(dark_photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder that holds the `dark.jpg` of README's calls."""
    Image.open(dark_photo).save(tmp_path / "dark.jpg", quality=95)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_dark_jpg")
def test_readme_calls_the_demo_from_python(server: str) -> None:
    results = run_readme("gradio_client", server)
    expected = retinex.enhance("dark.jpg", "join", DEVICE)
    for path, stage in zip(results["stages"], COMPUTED_STAGES, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected.stages[stage])
    assert results["details"]["device"] == expected.device
    assert results["details"]["seconds"] > 0


@pytest.mark.usefixtures("beside_dark_jpg")
def test_readme_calls_the_demo_from_a_shell(server: str) -> None:
    block = readme_block("bash", "curl").replace(README_ADDRESS, server)
    answer = subprocess.run(
        ["bash", "-euc", block], capture_output=True, text=True, check=True
    ).stdout
    assert "event: complete" in answer
    data = json.loads(answer.split("data: ")[-1])
    assert len(data) == len(EXPERIMENTS) + 1
    assert data[-1].keys() == EXPERIMENTS.keys()


def test_compare_scores_by_a_reference(server: str, dark_photo: Path, tmp_path: Path) -> None:
    reference = np.asarray(Image.open(dark_photo)) * np.uint8(4)
    Image.fromarray(reference).save(tmp_path / "reference.png")
    client = Client(server, verbose=False, download_files=str(tmp_path))
    files = handle_file(dark_photo), handle_file(tmp_path / "reference.png")
    *outputs, details = client.predict(*files, api_name="/compare")
    for name, file in zip(EXPERIMENTS, outputs, strict=True):
        output = np.asarray(Image.open(file))
        np.testing.assert_array_equal(output, enhance_all(dark_photo)[name].output)
        assert details[name]["psnr"] == pytest.approx(psnr(output, reference))
        assert details[name]["psnr_gt_mean"] == pytest.approx(psnr_gt_mean(output, reference))
        assert details[name]["ssim"] == pytest.approx(ssim(output, reference))


def test_endpoints_keep_colour_profile_and_metadata(
    server: str, dark_photo: Path, tmp_path: Path
) -> None:
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[EXIF_MAKE], exif[EXIF_ORIENTATION] = "Camera", 6
    photo = tmp_path / "street.jpg"
    Image.open(dark_photo).crop((0, 0, 96, 64)).save(photo, exif=exif, icc_profile=profile)
    client = Client(server, verbose=False, download_files=str(tmp_path))
    *stages, _ = client.predict(handle_file(photo), "join", api_name="/enhance")
    *outputs, _ = client.predict(handle_file(photo), None, api_name="/compare")
    for file in (stages[-1], *outputs):
        picture = Image.open(file)
        assert "street" in Path(file).name
        assert picture.size == (64, 96)
        assert picture.info["icc_profile"] == profile
        assert picture.getexif()[EXIF_MAKE] == "Camera"
        assert picture.getexif().get(EXIF_ORIENTATION, 1) == 1


@pytest.mark.usefixtures("beside_dark_jpg")
def test_readme_calls_the_demo_over_mcp(server: str) -> None:
    results = run_readme("from mcp", server)
    assert not results["answer"].isError, results["answer"].content
    picture, *_ = [part for part in results["answer"].content if part.type == "image"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data))).convert("RGB"))
    expected = retinex.enhance("dark.jpg", "join", DEVICE).stages[Stage.REFLECTANCE]
    np.testing.assert_array_equal(shown, expected)
    assert {"enhance", "compare"} == {tool.name for tool in results["tools"].tools}


def test_users_at_once_get_their_own_pictures(server: str, tmp_path: Path) -> None:
    def visit(user: int) -> tuple[Path, str]:
        photo = tmp_path / f"{user}.png"
        colours = np.random.default_rng(user).integers(0, 40, (8, 8 + user, 3), dtype=np.uint8)
        Image.fromarray(colours).save(photo)
        client = Client(
            server,
            verbose=False,
            download_files=str(tmp_path / str(user)),
            httpx_kwargs={"timeout": NETWORKS_TIMEOUT / 1000},
        )
        return photo, client.predict(handle_file(photo), "join", api_name="/enhance")[3]

    with ThreadPoolExecutor(8) as users:
        for photo, output in users.map(visit, range(8)):
            expected = retinex.enhance(photo, "join", DEVICE).output
            np.testing.assert_array_equal(np.asarray(Image.open(output)), expected)


@pytest.mark.parametrize("attempt", range(3))  # as not all ends would meet a network at work
def test_ends_without_a_crash_while_networks_run(
    attempt: int, dark_photo: Path, tmp_path: Path
) -> None:
    settings = {"RETINEX_DEVICE": DEVICE, "TMPDIR": str(tmp_path)}
    server = start([sys.executable, "demo.py"], ROOT, tmp_path, **settings)
    api = f"{server.address}/gradio_api"
    (path,) = httpx.post(f"{api}/upload", files={"files": dark_photo.read_bytes()}).json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, None]
    calls = [httpx.post(f"{api}/call/compare", json={"data": data}).json() for _ in range(8)]
    httpx.get(f"{api}/call/compare/{calls[0]['event_id']}", timeout=NETWORKS_TIMEOUT / 1000)
    stop(server)
    assert server.process.returncode == 0, server.log.read_text()
    assert not list(tmp_path.glob("retinex-*"))  # where visitors' files were


@pytest.mark.parametrize(
    ("there", "wanted", "borrowed"),
    [(True, "AUTO", "15"), (True, "CPU", ""), (False, "AUTO", "")],
)
def test_zero_gpu_runs_the_networks_where_there_is_one(
    tmp_path: Path, there: bool, wanted: str, borrowed: str
) -> None:
    """`spaces` is Hugging Face's module; this one only records what it is asked to decorate.

    Spaces without ZeroGPU have it, too.
    """
    (tmp_path / "spaces.py").write_text(
        "calls = []\n"
        "def GPU(duration):\n"
        "    def decorate(function):\n"
        "        def run(*arguments):\n"
        "            calls.append(duration(*arguments))\n"
        "            return function(*arguments)\n"
        "        return run\n"
        "    return decorate\n"
    )
    code = (
        "import sys\n"
        "from retinex import open_photo\n"
        "from pathlib import Path\n"
        "from retinex.demo.networks import Device, Settings, run_networks\n"
        "photo = open_photo(sys.argv[1])\n"
        "from retinex import device\n"
        "device._has_nvidia_gpu = device._has_openvino = lambda: False\n"
        f"settings = Settings(Device.{wanted}, Path('onnx_models'), 1)\n"
        "both = run_networks(('split_resize', 'split_transposed'), photo, settings)\n"
        "import spaces\n"
        "print(*spaces.calls, *((r.experiment, r.output.shape, str(r.device)) for r in both))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "examples/cat.jpg"],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
        | ({"SPACES_ZERO_GPU": "true"} if there else {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    size = (300, 451, 3)
    expected = (("split_resize", size, "cpu"), ("split_transposed", size, "cpu"))
    assert answer.removeprefix(f"{borrowed} ") == f"{expected[0]} {expected[1]}\n"
    assert answer.startswith(borrowed)


def test_zero_gpu_is_left_alone_until_it_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has touched CUDA can't be forked into those that the GPU is lent to."""
    monkeypatch.setattr(networks, "spaces", object())
    for wanted in (retinex.Device.AUTO, retinex.Device.CUDA):
        settings = Settings(wanted, MODELS_FOLDER, 1)
        enhancer = networks.load_enhancer.__wrapped__(("join",), settings)
        assert (enhancer.device, enhancer.device_reason) == (retinex.Device.CPU, "")


@pytest.mark.parametrize("wanted", [retinex.Device.AUTO, retinex.Device.CUDA])
def test_zero_gpu_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, dark_photo: Path, wanted: retinex.Device
) -> None:
    monkeypatch.setattr(networks, "spaces", object())
    monkeypatch.setattr(device, "_has_nvidia_gpu", lambda: False)
    photo, settings = retinex.open_photo(dark_photo), Settings(wanted, MODELS_FOLDER, 1)
    if wanted is retinex.Device.CUDA:
        with pytest.raises(gr.Error, match="CUDA"):
            networks.run_networks(("join",), photo, settings)
    else:
        (enhancement,) = networks.run_networks(("join",), photo, settings)
        assert enhancement.device is retinex.Device.CPU
        assert "CUDA" in enhancement.device_reason or "GPU" in enhancement.device_reason


def test_zero_gpu_says_what_failed(tmp_path: Path, dark_photo: Path) -> None:
    """What runs there: of errors of other kinds ZeroGPU would tell the page the kind alone."""
    settings = Settings(retinex.Device.CUDA, tmp_path, 1)
    with pytest.raises(gr.Error, match=r"there is no .*join\.onnx"):
        networks._run_on_cuda(("join",), retinex.open_photo(dark_photo), settings)


def test_dockerfile_copies_what_the_demo_needs(tmp_path: Path, dark_photo: Path) -> None:
    """Run its command on what it copies, and nothing else; when stopped, no file is left."""
    app, temporary = tmp_path / "app", tmp_path / "temporary"
    temporary.mkdir()
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.replace(".", "/") for name in project["tool"]["setuptools"]["packages"]]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("RUN pip install"):
            assert all((app / package).is_dir() for package in packages), "pip would fail"
        if line.startswith("COPY "):
            *sources, target = line.split()[1:]
            for source in sources:
                assert f"!{source.removesuffix('/')}" in ignore
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                destination = app / target / (source if target == "./" else "")
                destination.parent.mkdir(parents=True, exist_ok=True)
                copy(ROOT / source, destination)
    abandoned = temporary / "retinex-demo-killed" / "uploads" / "photo.png"
    abandoned.parent.mkdir(parents=True)
    abandoned.touch()
    os.utime(abandoned.parents[1], (0, 0))
    (command,) = [json.loads(line[4:]) for line in lines if line.startswith("CMD ")]
    server = start(
        [sys.executable, *command[1:]],
        app,
        tmp_path,
        PYTHONPATH=str(app),
        TMPDIR=str(temporary),
    )
    client = Client(server.address, verbose=False, download_files=str(tmp_path / "pictures"))
    client.predict(handle_file(dark_photo), "join", api_name="/enhance")
    assert any(temporary.rglob("*.png"))
    stop(server)
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_old_files_are_deleted(tmp_path: Path) -> None:
    example, sent, used = (tmp_path / kind / "a.png" for kind in ("example", "sent", "used"))
    for path in (example, sent, used):
        path.parent.mkdir()
        Image.new("RGB", (4, 3)).save(path)
    now = time.time()
    os.utime(used, (now + 100, now + 100))

    delete_old_files(tmp_path, kept={example}, seconds=-50)  # those not written in 50 s from now

    assert not sent.parent.exists()
    assert example.exists()
    assert used.exists()


def test_what_killed_demos_have_left_is_deleted(tmp_path: Path) -> None:
    left, running, other = (tmp_path / name for name in ("retinex-demo-a", "retinex-demo-b", "c"))
    for folder in (left, running, other):
        (folder / "uploads").mkdir(parents=True)
    long_ago = time.time() - 2 * SECONDS_UPLOADS_ARE_KEPT
    for folder in (left, other):
        os.utime(folder, (long_ago, long_ago))

    delete_abandoned_folders(tmp_path)

    assert set(tmp_path.iterdir()) == {running, other}


def test_the_examples_results_are_not_taken_for_abandoned(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    kept, upload, result = uploads / "sample.webp", uploads / "photo.jpg", tmp_path / "a" / "r.png"
    for file in (kept, upload, result):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (0, 0))
    touch_files(tmp_path, uploads, {kept})
    assert kept.stat().st_mtime and result.stat().st_mtime
    assert not upload.stat().st_mtime


def test_files_stay_shorter_where_space_is_short() -> None:
    assert seconds_to_keep(free=1_000_000) < seconds_to_keep(free=10**12) / 2


@pytest.fixture
def photo_server() -> Iterator[str]:
    """A server in the web that sends 100 kB, packed to a few bytes, or as many as its path says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/packed.png":
                body = gzip.compress(bytes(100_000))
                self.send_header("Content-Encoding", "gzip")
            else:
                body = bytes(int(self.path[1:]))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://photos.example:{server.server_port}"
    server.shutdown()


def test_what_callers_name_by_address_is_limited(
    photo_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(hostname: str) -> str:
        return "127.0.0.1"

    def fetch(path: str) -> int:
        download = fetching.processing_utils.async_ssrf_protected_download(
            photo_server + path, tmp_path
        )
        with ThreadPoolExecutor(1) as pool:  # this one has Playwright's event loop
            return Path(pool.submit(asyncio.run, download).result()).stat().st_size

    monkeypatch.setattr(safehttpx, "async_validate_url", find)
    monkeypatch.setattr(safehttpx, "AsyncSecureTransport", safehttpx.AsyncSecureTransport)
    monkeypatch.setattr(fetching.processing_utils, "PUBLIC_HOSTNAME_WHITELIST", ["photos.example"])
    monkeypatch.setattr(fetching, "MOST_BYTES", 50_000)
    limit_fetching()

    assert fetch("/50000") == 50_000
    with pytest.raises(ValueError, match="larger than"):
        fetch("/50001")
    assert fetch("/packed.png") < 1000


def test_callers_cannot_name_files_of_the_server(server: str, dark_photo: Path) -> None:
    url = f"{server}/gradio_api/call/enhance"
    for photo in ({"path": str(dark_photo)}, {"path": "/dev/zero"}, {"path": None}, None):
        event = httpx.post(url, json={"data": [photo, "join"]}).json()["event_id"]
        answer = httpx.get(f"{url}/{event}", timeout=60).text
        assert "event: error" in answer
        assert str(dark_photo) not in answer


def test_nothing_is_logged_of_pictures_or_their_faults(demo: Server) -> None:
    """After all tests above: names of files, sizes and stack traces would be in the log."""
    assert demo.process.poll() is None
    assert demo.log.read_text() == ""
    assert not re.search(r"/tmp|\.(png|jpg)|\d×\d|Traceback|HTTP/", demo.printed.read_text())
