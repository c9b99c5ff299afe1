"""Live progress on a terminal, plain lines elsewhere.

Nothing is drawn while a sample runs: the display is refreshed before and after, so that it takes no processor time
from the process being timed.
"""

from __future__ import annotations

from bench.progress.display import Display, announce, open_display
from bench.progress.samples import make_progress

__all__ = ["Display", "announce", "make_progress", "open_display"]
