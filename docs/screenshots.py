"""The pictures of the dashboards in the README, from the store of the demo.

Run in the folder of a finished demo: ``python docs/screenshots.py --data demo-data``. It needs the development
dependencies and a Chromium, and writes ``docs/dashboards-*.png``.
"""

import argparse
import shutil
import threading
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from dashboards.app import create_app, open_server, source_of

STUDY: Final = "demo"

#: File -> address, colour scheme and height of the window.
PICTURES: Final = {
    "dashboards-leaderboard.png": ("/?reference=fcnn-plain", "light", 860),
    "dashboards-devices.png": (
        "/devices?reference=fcnn-plain&rows=fcnn-plain&rows=fcnn-mixup&rows=two-stage",
        "light",
        960,
    ),
    "dashboards-confusions.png": ("/confusions?reference=fcnn-plain&row=two-stage", "dark", 960),
}


def main() -> None:
    """Serve the store and look at it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the recordings of the demo")
    options = parser.parse_args()
    server = open_server(create_app(source_of(None, (STUDY,), options.data, patience=120.0)), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (address, scheme, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1280, "height": height}, color_scheme=scheme)
            page.goto(f"http://127.0.0.1:{server.server_port}{address}")
            page.wait_for_selector("main .figure", timeout=120_000)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1500)
            page.screenshot(path=Path(__file__).parent / name)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
