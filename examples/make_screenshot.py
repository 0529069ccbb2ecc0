"""Make the screenshot at the top of README: the demo as it opens, in a real browser.

`python examples/make_screenshot.py` photographs the page that `python demo.py` serves beside it. It
needs Playwright and Chromium, as the tests do.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Error, sync_playwright

from retinex import EXPERIMENTS

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "examples" / "screenshot.webp"
ADDRESS = "http://127.0.0.1:7860/?__theme=light"
SIZE = (1440, 1400)
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 600_000
"""Milliseconds that a slow machine may take."""


def main() -> None:
    """Open the demo, wait until the example is enhanced, and keep what is seen."""
    screenshot = Image.open(io.BytesIO(photograph(ADDRESS)))
    screenshot.convert("RGB").save(TARGET, quality=85, method=6)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1000:.0f} kB")


def photograph(address: str) -> bytes:
    """Return a PNG of the page once every experiment has run on the example."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_OPTIONS, timeout=PATIENCE
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(PATIENCE)
        try:
            page.goto(address, timeout=PATIENCE)
        except Error as error:
            raise SystemExit("make_screenshot.py: start `python demo.py` first") from error
        page.locator("#status", has_text=f"{len(EXPERIMENTS)} of {len(EXPERIMENTS)} exp").wait_for()
        page.locator("#before-after img").last.wait_for()
        screenshot = page.screenshot()
        browser.close()
    return screenshot


if __name__ == "__main__":
    main()
