"""The functions that the engine numpy computes, each against a reference."""

import math
import warnings

import numpy as np
import pytest

from loader.encoder.forward import ACTIVATIONS, distance_buckets


class TestFunctions:
    @pytest.fixture
    def numbers(self):
        return np.concatenate([np.linspace(-30, 30, 600_001), np.geomspace(1e-30, 1e-3, 1000)]).astype(np.float32)

    @pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
    def test_activation_functions(self, name, numbers):
        from scipy.special import erf

        x = numbers.astype(np.float64)
        expected = {
            "gelu": x * 0.5 * (1 + erf(x / math.sqrt(2))),
            "gelu_tanh": x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            "relu": np.maximum(x, 0),
        }[name]
        result = numbers.copy()
        ACTIVATIONS[name](result)
        assert np.max(np.abs(result - expected)) <= 1e-6
        assert np.max(np.abs(result - expected) / np.maximum(np.abs(x), 1e-30)) <= 2e-6, "small numbers as well"

    @pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
    def test_enormous_numbers_come_out_without_a_warning(self, name):
        x = np.array([1e3, 1e5, 1e10, 1e30, 3e38, np.inf, -1e3, -1e5, -1e10, -1e30, -3e38], np.float32)
        result = x.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ACTIVATIONS[name](result)
        assert np.array_equal(result, np.maximum(x, 0))
        nothing = np.array([np.nan], np.float32)
        ACTIVATIONS[name](nothing)
        assert np.isnan(nothing[0])

    @pytest.mark.process
    def test_layer_norm(self):
        import torch

        from loader.encoder.forward import Encoder
        from loader.encoder.weights import Norm

        rng = np.random.default_rng(0)

        class Config:
            activation = "gelu"
            epsilon = 1e-5

        encoder = Encoder(Config, None)
        for scale, offset in ((1, 0), (1e-4, 0), (100, 0), (1, 30)):
            x = (rng.normal(size=(384, 50)) * scale + offset).astype(np.float32)
            gain, shift = rng.normal(size=(2, 384)).astype(np.float32)
            tensors = [torch.from_numpy(array).double() for array in (x.T.copy(), gain, shift)]
            expected = torch.nn.functional.layer_norm(tensors[0], (384,), tensors[1], tensors[2], 1e-5).numpy().T
            encoder._normalise(x, Norm(gain, shift))
            assert np.max(np.abs(x - expected)) <= 1e-5 * max(1, offset / scale)

    @pytest.mark.process
    def test_distance_buckets(self):
        import torch
        from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

        distances = np.arange(-1100, 1101)
        expected = MPNetEncoder.relative_position_bucket(torch.from_numpy(distances), num_buckets=32).numpy()
        assert np.array_equal(distance_buckets(distances), expected)
        assert set(expected.tolist()) == set(range(32)) - {16}, "every bucket is reached"
