"""``python -m bench``, as a table of contents: compose, plan, measure, report."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig

from bench.config import QUALITY, from_hydra
from bench.errors import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, BenchError, ConfigError
from bench.quality.run import measure_quality
from bench.run import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bench.config import BenchConf
    from bench.run import RunResult

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the command line; ends the process with the exit code."""
    # Hydra finds launchers below a namespace package of this name.
    sys.path.append(str(HERE / "_plugins"))
    codes: list[int] = []
    # Like Ctrl-C: what is being measured is ended, what was measured is reported.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def task(composed: DictConfig | list[DictConfig]) -> None:
        # A run passes one configuration; the interleaved launcher passes all those of a sweep.
        codes.append(run(composed if isinstance(composed, list) else [composed]))

    # An absolute path: relative to the package it would break wherever somebody keeps a conf.py.
    hydra.main(version_base="1.3", config_path=str(HERE.parent / "conf"), config_name="config")(task)()
    raise SystemExit(max(codes, default=EXIT_OK))


def run(composed: list[DictConfig]) -> int:
    """Measure and report; return the exit code."""
    try:
        _check_resume(composed[0])
        result = _measure_and_report([from_hydra(config) for config in composed])
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_HARNESS
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        _remove_empty_folder()
    if result.interrupted:
        if result.can_resume:
            print(f"interrupted; continue with: python -m bench resume={result.folder}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if result.missing:
        print(f"no valid sample: {', '.join(result.missing)}", file=sys.stderr)
        return EXIT_MISSING
    return EXIT_OK


def _check_resume(config: DictConfig) -> None:
    """Refuse options beside ``resume``: they would be ignored.

    Raises:
        ConfigError: there are some.
    """
    if config.get("resume") is None or not HydraConfig.initialized():
        return
    words = HydraConfig.get().overrides.task
    others = [word for word in words if word.partition("=")[0] not in {"resume", "quiet", "machine_lock"}]
    if others:
        raise ConfigError(
            f"resume={config.resume} continues a run as it was configured. Leave out {' '.join(others)}, or start a "
            "new run."
        )


def _remove_empty_folder() -> None:
    """Remove the folder that Hydra made for a run that goes on in another one, or never began."""
    if HydraConfig.initialized():
        with contextlib.suppress(OSError):
            Path(HydraConfig.get().runtime.output_dir).rmdir()


def _measure_and_report(configs: Sequence[BenchConf]) -> RunResult:
    """Measure what the suite says and write its report."""
    # Reports are imported after the measurement: NumPy, pandas and matplotlib stay out of the parent until then.
    if configs[0].suite.name == QUALITY:
        result = measure_quality(configs)
        from bench.quality.report import present
    else:
        result = measure(configs)
        from bench.report.making import present
    present(result.folder, quiet=configs[0].quiet)
    return result
