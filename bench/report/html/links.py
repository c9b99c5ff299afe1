"""Which targets may be clicked: relative ones, and in prose plain web addresses."""

from __future__ import annotations

import re
from urllib.parse import quote

from bench.report.html.characters import allowed

_SCHEME = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PART = r"(?:[A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-Fa-f]{2})"
_END = rf"(?:\?{_PART}*)?(?:\#{_PART}*)?"
_RELATIVE = re.compile(rf"(?!/){_PART}*{_END}")
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_WEB = re.compile(rf"https?://(?:{_LABEL}\.)+[A-Za-z]+(?:/{_PART}*)?{_END}")


def quoted(target: str) -> str:
    """Return a path as a relative URL; "" if it has a scheme, as ``javascript:`` is one, or is not relative."""
    if _SCHEME.match(target) or target.startswith("/"):
        return ""
    return quote(allowed(target))


def may_link(url: str) -> bool:
    """Return whether prose may link there; the URL is quoted already."""
    return bool(_RELATIVE.fullmatch(url) or _WEB.fullmatch(url))
