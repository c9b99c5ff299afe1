"""``python -m bench``, as a table of contents: compose, plan, measure, report."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from bench.errors import EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, ConfigError, Ended
from bench.measure.run import measure
from bench.plan.config import QUALITY, from_hydra
from bench.plan.places import CONF
from bench.programs import MEASURE, exit_code_of, list_exit_codes, list_programs
from bench.quality.run import measure_quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bench.measure.run import RunResult
    from bench.plan.config import BenchConf

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the command line and return the exit code."""
    # Hydra finds launchers below a namespace package of this name.
    sys.path.append(str(HERE / "_plugins"))
    # What the help in conf/config.yaml refers to.
    OmegaConf.register_new_resolver("programs", list_programs, replace=True)
    OmegaConf.register_new_resolver("exit_codes", lambda: list_exit_codes(MEASURE), replace=True)
    codes: list[int] = []

    def task(composed: DictConfig | list[DictConfig]) -> None:
        # A run passes one configuration; the interleaved launcher passes all those of a sweep.
        codes.append(run(composed if isinstance(composed, list) else [composed]))

    # An absolute path: one relative to the package breaks in any folder that has a conf.py.
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    except Ended:
        raise
    except SystemExit as ended:
        if ended.code == 1 and not codes:
            # Hydra has said what is wrong; its exit code would mean a missing cell here.
            raise ConfigError("the configuration is not valid, see above") from None
        raise
    return max(codes, default=EXIT_OK)


def run(composed: list[DictConfig]) -> int:
    """Measure and report; return the exit code. No error leaves this function: Hydra would end with 1."""
    try:
        return exit_code_of(lambda: _run(composed))
    finally:
        _remove_empty_folder()


def _run(composed: list[DictConfig]) -> int:
    _check_resume(composed[0])
    result = _measure_and_report([from_hydra(config) for config in composed])
    if result.interrupted:
        if result.can_resume:
            print(f"interrupted; continue with: python -m bench resume={result.folder}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if result.missing:
        print(f"no valid sample: {', '.join(result.missing)}", file=sys.stderr)
        return EXIT_MISSING
    return EXIT_OK


def _check_resume(config: DictConfig) -> None:
    """Refuse other options next to ``resume``: they would be ignored.

    Raises:
        ConfigError: there are some.
    """
    if config.get("resume") is None or not HydraConfig.initialized():
        return
    words = HydraConfig.get().overrides.task
    others = [word for word in words if word.partition("=")[0] not in {"resume", "quiet", "machine_lock"}]
    if others:
        raise ConfigError(
            f"resume={config.resume} continues a run with its own configuration. Remove {' '.join(others)}, or start "
            "a new run."
        )


def _remove_empty_folder() -> None:
    """Remove the folder that Hydra made, if the run continues in another one or never began."""
    if HydraConfig.initialized():
        with contextlib.suppress(OSError):
            Path(HydraConfig.get().runtime.output_dir).rmdir()


def _measure_and_report(configs: Sequence[BenchConf]) -> RunResult:
    """Measure what the suite names and write its report."""
    # Reports are imported after the measurement: NumPy, pandas and matplotlib stay out of the parent until then.
    if configs[0].suite.name == QUALITY:
        result = measure_quality(configs)
        from bench.report.quality.report import present
    else:
        result = measure(configs)
        from bench.report.making import present
    present(result.folder, quiet=configs[0].quiet)
    return result
