"""Targets for tests of the load test: vectors made from the text's hash at once, and what can be wrong with a
service."""

import hashlib
import os
import time

import numpy as np

from bench.load.checking import DTYPE
from loader.errors import ServiceBusyError, ServiceUnavailableError

EVERY = 10
"""One request of so many goes wrong, the first of each client aside, which warms up."""


def vector_of(text):
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=16)
    return (vector / np.linalg.norm(vector)).astype(DTYPE)


class Right:
    def __init__(self, model, engine):
        self._asked = 0

    def open(self):
        def embed(text):
            self._asked += 1
            return self.answer(text) if self._asked % EVERY == 0 else vector_of(text).tobytes()

        return embed

    def open_batch(self):
        return lambda texts: [vector_of(text).tobytes() for text in texts]

    def facts(self):
        return {"engine": "hash", "device": "cpu", "precision": "float32"}

    def answer(self, text):
        return vector_of(text).tobytes()


class OfAnotherText(Right):
    """The text differs, but it is one of the texts: only its own reference tells."""

    def __init__(self, model, engine):
        self._last = None

    def open(self):
        def embed(text):
            last, self._last = self._last, text
            return vector_of(last or text).tobytes()

        return embed


class Slightly(Right):
    """Ten times the tolerance in one number."""

    def answer(self, text):
        vector = vector_of(text).copy()
        vector[3] += 1e-4
        return vector.tobytes()


class NotANumber(Right):
    def answer(self, text):
        return np.full(16, np.nan, DTYPE).tobytes()


class Short(Right):
    def answer(self, text):
        return vector_of(text).tobytes()[:-4]


class Broken(Right):
    def answer(self, text):
        raise ServiceUnavailableError("the connection was closed")


class Busy(Right):
    def answer(self, text):
        raise ServiceBusyError("too many requests")


class Silent(Right):
    """Never answers: the client is lost."""

    def answer(self, text):
        time.sleep(3600)


class Dies(Right):
    """Takes its client process with it."""

    def answer(self, text):
        os._exit(3)


class NotThere(Right):
    def open(self):
        raise ServiceUnavailableError("there is no service")
