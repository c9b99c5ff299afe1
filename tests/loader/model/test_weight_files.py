"""Weight files that lie."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import ModelCorruptError, ModelError
from loader.model.weight_files import check_weights
from tests.conftest import safetensors_bytes

VALID = safetensors_bytes()
PER_FUNCTION = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_a_valid_file_passes(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(VALID)
    assert check_weights(str(tmp_path)) == [str(tmp_path / "model.safetensors")]


@PER_FUNCTION
@given(length=st.integers(0, len(VALID) - 1))
def test_a_file_cut_anywhere_is_damaged(tmp_path, length):
    (tmp_path / "model.safetensors").write_bytes(VALID[:length])
    with pytest.raises(ModelCorruptError, match="damaged"):
        check_weights(str(tmp_path))


@PER_FUNCTION
@given(content=st.binary(max_size=200))
def test_random_bytes_are_damaged(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError):
        check_weights(str(tmp_path))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"3",
        b"{}x",
        b'{"t": {}}',
        b'{"t": {"data_offsets": []}}',
        b'{"t": {"data_offsets": [0, "9"]}}',
        b'{"t": {"data_offsets": [0, -4]}}',
        b'{"t": {"data_offsets": [0, 1e999]}}',
        b'{"t": null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda header: repr(header[:40]),
)
def test_headers_that_make_no_sense(tmp_path, header):
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(ModelCorruptError):
        check_weights(str(tmp_path))


def test_a_header_larger_than_the_file_is_not_read(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelCorruptError, match="cannot hold"):
        check_weights(str(tmp_path))
