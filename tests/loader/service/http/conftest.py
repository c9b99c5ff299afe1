"""Servers for the tests of HTTP."""

import pytest

from tests.loader.service.http.fake import NAME, Fake, fake_model, serving


@pytest.fixture(scope="module")
def shared():
    """A server that all tests of harmless and hostile requests share: a request that breaks it fails the next test."""
    models = {NAME: fake_model(Fake()), "loading": None}
    with serving(models) as port:
        yield port


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def own(fake):
    """A server of this test alone."""
    with serving({NAME: fake_model(fake)}) as port:
        yield port
