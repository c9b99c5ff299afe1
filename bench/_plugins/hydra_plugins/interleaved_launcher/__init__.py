"""A Hydra launcher that hands a whole sweep to the harness at once.

Hydra's own launchers run one job after another, so a machine that slows down in between looks like a difference.
This one composes all jobs first; ``bench.measure.run`` then measures their cells in interleaved rounds. Hydra finds it
by its location: a package below ``hydra_plugins`` on ``sys.path`` (``bench.cli`` puts it there).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


class InterleavedLauncher(Launcher):
    """Composes every job of a sweep and measures them together."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what ``launch`` needs; called by Hydra."""
        self._context = hydra_context
        self._task = task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """Run the task once, with the list of all composed configurations; return one result per job."""
        setup_globals()
        # Written by the sweeper: Hydra's view of the sweep, full of paths. The manifest says what was measured.
        (Path(str(self._config.hydra.sweep.dir)) / "multirun.yaml").unlink(missing_ok=True)
        configs = [
            self._context.config_loader.load_sweep_config(self._config, list(overrides)) for overrides in job_overrides
        ]
        returned = JobReturn(status=JobStatus.COMPLETED)
        returned.return_value = self.run(configs)
        return [returned for _ in configs]

    def run(self, configs: Sequence[DictConfig]) -> object:
        """Measure the cells of these jobs."""
        return self._task(configs)
