"""Where this project's files are, in a checkout and in site-packages."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``bench`` and ``loader``: a checkout, or site-packages."""

CONF = next((folder for folder in (ROOT / "bench" / "conf", ROOT / "conf") if folder.is_dir()), ROOT / "conf")
"""The configurations: in a wheel they are inside ``bench``, in a checkout beside it."""
