"""Arguments: every wrong one is a typed error at once, whatever it is."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import (
    ArgumentTypeError,
    ArgumentValueError,
    LoaderError,
    LoadingStrategy,
    OptimizedEmbeddingLoader,
    get_embedding_provider,
    preload_embeddings,
)
from loader.arguments import Settings, check_timeout
from loader.strategies import STRATEGIES


@pytest.mark.parametrize(
    "arguments",
    [
        {"model_name": None},
        {"model_name": b"all-MiniLM-L6-v2"},
        {"model_name": 7},
        {"strategy": None},
        {"strategy": 3},
        {"device": 0},
        {"engine": None},
        {"threads": "2"},
        {"threads": True},
        {"threads": 1.5},
        {"allow_download": "yes"},
    ],
)
def test_wrong_types(arguments):
    with pytest.raises(ArgumentTypeError) as caught:
        OptimizedEmbeddingLoader(**arguments)
    assert isinstance(caught.value, TypeError)
    assert next(iter(arguments)) in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"strategy": "LAZY"},
        {"strategy": ""},
        {"strategy": "turbo"},
        {"device": ""},
        {"device": "gpu"},
        {"device": "cuda:"},
        {"device": "cuda:x"},
        {"device": "cuda:99999"},
        {"device": "cuda:\u0663"},
        {"engine": "quantum"},
        {"threads": 0},
        {"threads": -1},
        {"threads": 10**9},
    ],
)
def test_wrong_values(arguments):
    with pytest.raises(ArgumentValueError) as caught:
        OptimizedEmbeddingLoader(**arguments)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("function", [get_embedding_provider, preload_embeddings])
def test_the_functions_check_too(function):
    with pytest.raises(ArgumentValueError, match="choose from lazy, background, progressive"):
        function("m", "turbo")
    with pytest.raises(TypeError):
        function("m", surprise=1)


def test_strategy_by_value():
    assert OptimizedEmbeddingLoader("m", "background").strategy is LoadingStrategy.BACKGROUND
    assert [member.value for member in LoadingStrategy] == [member.name.lower() for member in LoadingStrategy]


def test_a_path_object_means_a_path():
    assert OptimizedEmbeddingLoader(Path("models") / "mine").model_name == "./models/mine"
    assert OptimizedEmbeddingLoader(Path("/models/mine")).model_name == "/models/mine"


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf])
def test_impossible_timeouts(timeout):
    loader = OptimizedEmbeddingLoader("m")
    for method in (loader.get_provider, loader.load, loader.wait_for_provider):
        with pytest.raises(ArgumentValueError):
            method(timeout)
    assert not loader.is_loading()


@pytest.mark.parametrize("timeout", ["1", True, [], 1j])
def test_timeouts_of_a_wrong_type(timeout):
    with pytest.raises(ArgumentTypeError):
        OptimizedEmbeddingLoader("m").get_provider(timeout)


@given(st.one_of(st.floats(min_value=0), st.integers(min_value=0)))
def test_any_other_timeout_can_be_waited_for(timeout):
    seconds = check_timeout(timeout)
    assert 0 <= seconds < 10**12


@given(st.text())
def test_any_model_name_can_be_constructed_and_fails_typed(name):
    loader = OptimizedEmbeddingLoader(name, allow_download=False)
    assert loader.get_error() is None
    assert repr(loader).isascii()
    try:
        metadata = loader.get_metadata()
    except LoaderError as error:
        assert str(error)
    else:
        assert metadata is None or metadata.model_name == name
    assert loader.get_embedding_dim_fast() is None


def test_settings_have_the_precision_of_their_strategy():
    assert Settings("m", "quantized").precision == "int8"
    assert Settings("m", "service").precision == "float32"
    assert Settings("m", "service", precision="int8").here().strategy == "quantized"
    with pytest.raises(ArgumentValueError, match="use the strategy quantized or service"):
        Settings("m", "cached", precision="int8")


def test_settings_cannot_be_changed():
    settings = Settings("m", "background", "cuda", threads=2, allow_download=False)
    for name in Settings.__slots__:
        with pytest.raises(AttributeError, match=name):
            setattr(settings, name, None)
    other = settings.by("lazy").on("cpu")
    assert (settings.strategy, settings.device) == ("background", "cuda")
    assert (other.strategy, other.device, other.threads, other.allow_download) == ("lazy", "cpu", 2, False)
    assert all(hasattr(other, name) for name in Settings.__slots__)


def test_only_where_a_model_computes_makes_strategies_differ():
    keys = {name: Settings("m", name).key() for name in STRATEGIES if STRATEGIES[name].precision == "float32"}
    service = keys.pop("service")
    assert len(set(keys.values())) == 1
    assert service not in keys.values()
    assert Settings("m", "quantized").key() not in keys.values()
