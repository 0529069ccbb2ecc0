"""Seconds from starting the demo until a visitor can use its page, and until they see a result.

Starts `python demo.py` and opens it in a headless Chromium; needs `pip install -e ".[dev]"`.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

DEMO = Path(__file__).parent.parent / "demo.py"
PATIENCE = 120_000
"""Milliseconds that a slow machine may take."""
MILESTONES = ("server runs", "page takes photos", "example is enhanced")


def main() -> None:
    """Start the demo several times; print the medians."""
    parser = argparse.ArgumentParser(description="Time how the demo starts.")
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        chromium = next((path for name in names if (path := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        seconds = [time_start(browser) for _ in range(turns)]
        browser.close()
    for milestone, times in zip(MILESTONES, zip(*seconds, strict=True), strict=True):
        print(f"{milestone:20} {statistics.median(times):5.1f} s")


def time_start(browser: Browser) -> list[float]:
    """Start the demo once; return the seconds until each milestone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, DEMO],
        env=os.environ | {"CI": "true", "GRADIO_SERVER_PORT": port, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not any("Running on local URL" in line for line in process.stdout):
            raise SystemExit("demo.py didn't start")
        seconds = [time.perf_counter() - started]
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://127.0.0.1:{port}")
        for part in ("#photo input[type=file]", "#before-after img"):
            page.locator(part).first.wait_for(state="attached")
            seconds.append(time.perf_counter() - started)
        page.close()
    finally:
        process.terminate()
        process.wait()
    return seconds


if __name__ == "__main__":
    main()
