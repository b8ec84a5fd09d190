"""A browser on the page of ``lifstream play``; as a command it takes the pictures of ``docs/play.md``."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["TRIANGLE", "chromium", "draw", "opened", "playing"]

_PATIENCE_MS = 240_000
"""For whatever a page waits for, on however busy a machine."""

TRIANGLE = ((0.5, 0.15), (0.82, 0.82), (0.18, 0.82), (0.5, 0.15))
"""Corners on the paper, 0..1 to the right and down."""
_THREE = ((0.3, 0.2), (0.5, 0.13), (0.68, 0.26), (0.5, 0.46), (0.7, 0.63), (0.62, 0.82), (0.45, 0.87), (0.27, 0.77))


def chromium() -> str | None:
    """An installed Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def playing(*arguments: str, folder: Path) -> Iterator[str]:
    """Address of the page, while ``lifstream play`` runs in a folder."""
    command = [sys.executable, "-m", "lifstream", "play", *arguments, "--no-open", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield json.loads(line)["address"]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)


@contextmanager
def opened(address: str, *, width: int = 1280, height: int = 800, dark: bool = False,
           ) -> Iterator[tuple[Any, list[str]]]:
    """The page in a headless Chromium, once the chip is there; and what it complained of so far."""
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        # Only what is served here is to be reached.
        browser = playwright.chromium.launch(executable_path=chromium(), args=[
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
                                reduced_motion="reduce")     # the steps are not played, which costs time
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(f"asks for {request.url}")
                if not request.url.startswith((address, "data:")) else None)
        page.goto(address)
        page.locator("body[data-phase=ready]").wait_for()
        yield page, complaints
        browser.close()


def draw(page: Any, points: Sequence[tuple[float, float]]) -> None:
    """Draw a line on the paper, and wait for the answer to all of it."""
    box = page.locator("#paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    page.locator("body[data-drawn=true]").wait_for()


def taught(page: Any, label: int, lessons: int) -> None:
    """Press a label, and wait until the lesson is over and the weights have been read back."""
    page.locator(f"#labels button:nth-child({label + 1})").click()
    page.locator(f"body[data-taught='{lessons}'][data-unread=false]").wait_for()


def _pictures(folder: Path, model: str, engine: str) -> None:
    with playing(model, "--engine", engine, "--out", "taught.npz", folder=folder) as address:
        with opened(address, height=1150) as (page, _):
            draw(page, _THREE)
            page.wait_for_timeout(6_000)    # for the meter
            page.screenshot(path=folder / "play.png")
            page.locator("#clear").click()
            draw(page, TRIANGLE)
            taught(page, 7, 1)
            page.wait_for_timeout(8_000)    # what is forgotten shows on the meter
            page.locator("#weights-card").screenshot(path=folder / "play-taught.png")
        with opened(address, width=390, height=844, dark=True) as (page, _):
            page.wait_for_timeout(3_000)
            page.screenshot(path=folder / "play-phone.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--engine", default="simulated")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    _pictures(given.out, given.model, given.engine)
