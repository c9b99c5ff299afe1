"""Hydra launchers that spread a sweep over many machines, see ``bench.fleet``.

They get all jobs at once, like the interleaved launcher: cells that share a reference must stay together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..interleaved_launcher import InterleavedLauncher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from omegaconf import DictConfig

    from bench.fleet.jobs import Backend


class RayLauncher(InterleavedLauncher):
    """Measures on the nodes of a Ray cluster; for its options, see ``bench.fleet.on_ray.RayBackend``."""

    def __init__(self, address: str | None = None, num_cpus: float = 0, num_gpus: float = 0) -> None:
        self._address = address
        self._num_cpus = num_cpus
        self._num_gpus = num_gpus

    def run(self, configs: Sequence[DictConfig]) -> NoReturn:
        """Measure, report and end the program."""
        from bench.fleet.on_ray import RayBackend

        _drive(configs, RayBackend(self._address, self._num_cpus, self._num_gpus))


class SubmititLauncher(InterleavedLauncher):
    """Measures in jobs of a cluster; for its options, see ``bench.fleet.on_submitit.SubmititBackend``."""

    def __init__(self, cluster: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        self._cluster = cluster
        self._parameters = parameters or {}

    def run(self, configs: Sequence[DictConfig]) -> NoReturn:
        """Measure, report and end the program."""
        from bench.fleet.on_submitit import SubmititBackend

        _drive(configs, SubmititBackend(self._cluster, self._parameters))


def _drive(configs: Sequence[DictConfig], backend: Backend) -> NoReturn:
    """Run the sweep and raise its exit code, because Hydra does not pass one on."""
    from bench.errors import Ended
    from bench.fleet.drive import run

    raise Ended(run(configs, backend))
