"""A panic of a library that is written in Rust, as Python sees it: a BaseException of a type that nobody can import."""

from __future__ import annotations

from pathlib import Path

from tests.support.tiny_bert import make_tiny_bert
from tests.support.tiny_models import edit_json

_SECOND_OF_ONE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "B", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}


def make_panicking_model(folder: Path) -> Path:
    """Make a tiny model for whose texts the tokenizers library panics, wherever that library is what reads them."""
    make_tiny_bert(folder)
    edit_json(folder, "tokenizer.json", post_processor=_SECOND_OF_ONE)
    return folder


def panic() -> None:
    """Raise one."""
    from tokenizers import Tokenizer, models, processors

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$B", pair="$A $B", special_tokens=[])
    tokenizer.encode("a")
