"""JSON without ``json``: the same values, and an error wherever there is one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.runtime.plain_json import dumps, loads, quoted

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_values_come_back(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="utf-8"):
            loads(text)
    else:
        assert loads(b" \r\n\t" + text + b"\n") == value


@given(st.binary(max_size=30) | st.text('[]{}":,.-+eE0123456789truefalsn \\u\t\x00é', max_size=30).map(str.encode))
def test_any_text_is_read_as_json_reads_it(data):
    """Except that UTF-16 and UTF-32 are not read, nor a mark before the text."""
    try:
        wanted = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        with pytest.raises(type(error) if isinstance(error, RecursionError) else ValueError):
            loads(data)
    else:
        found = loads(data)
        assert found == wanted or found != found


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 2}', b'[{"b": {"a": 1, "a": 1}}]', b'{"a": 1, "\\u0061": 2}'])
def test_a_key_that_occurs_twice(text):
    assert loads(text) == json.loads(text)
    with pytest.raises(ValueError, match="twice"):
        loads(text, unique_keys=True)


def test_errors_say_where():
    for text in (b"", b" ", b"{", b"[1]]", b"nul", b'{"a" 1}', b"\xef\xbb\xbf{}"):
        with pytest.raises(ValueError, match=r"line 1 column \d"):
            loads(text)
    with pytest.raises(RecursionError):
        loads(b"[" * 200_000)


fields = st.dictionaries(
    st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
)


@given(fields)
def test_written_fields_come_back(written):
    assert json.loads(dumps(written)) == written
    assert loads(dumps(written)) == written


@given(st.text())
def test_quoted(text):
    assert quoted(text) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize("damage", ["[1", "nonsense", "[1]"])
def test_in_a_fresh_process(python, damage):
    """Up to Python 3.11 the parser in C cannot report damage before ``json`` is imported."""
    code = f"""
import sys
from loader.runtime.plain_json import loads
try:
    print(loads({damage.encode()!r}), "json" in sys.modules)
except ValueError as error:
    print(type(error).__name__)
"""
    assert python(code).out == ("[1] False\n" if damage == "[1]" else "JSONDecodeError\n")
