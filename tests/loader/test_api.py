"""The functions that most programs call: one model for the process, and the reason where there is none."""

import importlib.util
import inspect
from typing import get_args, get_type_hints

import pytest

import loader
from loader import (
    ArgumentTypeError,
    ArgumentValueError,
    ModelNotFoundError,
    OptimizedEmbeddingLoader,
    get_embedding_provider,
    load,
    preload_embeddings,
)
from loader.arguments import COMPILE
from loader.keywords import LoaderOptions, LoadOptions
from loader.strategies import PRECISIONS
from tests.conftest import MINILM


@pytest.mark.real_model
def test_all_of_them_share_one_model():
    provider = load(MINILM)
    assert provider.embed_query("database connection").shape == (384,)
    assert load(MINILM, "background") is provider
    assert get_embedding_provider(MINILM) is provider
    assert preload_embeddings(MINILM).load() is provider


def test_load_raises_what_get_embedding_provider_keeps_to_itself(tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(ModelNotFoundError, match="gone") as caught:
        load(gone)
    assert get_embedding_provider(gone) is None
    assert str(OptimizedEmbeddingLoader.get_instance(gone).get_error()) == str(caught.value)


@pytest.mark.parametrize("function", [load, get_embedding_provider, preload_embeddings])
def test_a_mistake_in_an_argument_is_raised_by_each(function):
    with pytest.raises(ArgumentValueError, match="strategy"):
        function(MINILM, "eager")
    with pytest.raises(ArgumentTypeError, match="threads"):
        function(MINILM, threads="two")
    with pytest.raises(TypeError, match="thread"):
        function(MINILM, thread=2)


def test_a_timeout_is_checked_before_anything_loads(tmp_path):
    for function in (load, get_embedding_provider):
        with pytest.raises(ArgumentValueError, match="timeout"):
            function(tmp_path / "gone", timeout=-1)


def test_no_module_hides_a_public_name():
    """Importing ``loader.load``, if there were such a module, would put it where the function was."""
    assert [name for name in loader.__all__ if importlib.util.find_spec(f"loader.{name}")] == []


def test_the_typed_options_are_those_of_the_constructor():
    parameters = inspect.signature(OptimizedEmbeddingLoader).parameters.values()
    keywords = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert LoaderOptions.__annotations__.keys() == keywords
    assert LoadOptions.__annotations__.keys() == keywords | {"device"}


def test_the_typed_values_are_those_that_are_accepted():
    def values(option):
        literal, none = get_args(get_type_hints(LoaderOptions)[option])
        assert none is type(None)
        return set(get_args(literal))

    assert values("precision") == set(PRECISIONS)
    assert values("compile") | {None} == set(COMPILE)
