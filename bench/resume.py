"""Continuing an interrupted run: with its own configuration, on the same machine, behind its last whole record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.config import from_plain
from bench.environment import describe_environment, fingerprint, read_manifest
from bench.errors import ConfigError
from bench.plan import make_plan
from bench.records import read_records

if TYPE_CHECKING:
    from pathlib import Path

    from bench.config import BenchConf
    from bench.records import Record


def reopen(folder: Path, records_name: str, manifest_name: str) -> tuple[dict[str, Any], list[BenchConf], list[Record]]:
    """Return the manifest, the configurations and the records of a run that can go on.

    A last line that was being written when the run was killed is cut off.

    Raises:
        ConfigError: this is no run of start-up costs, or one of another machine or version.
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / manifest_name)
    if not manifest.get("run") or not (folder / records_name).is_file():
        raise ConfigError(f"{folder} cannot be resumed: it is no single run of start-up costs, or of an older version")
    here = fingerprint(describe_environment())
    if manifest["machine"] != here:
        raise ConfigError(
            f"{folder} was measured on another machine or with other versions (fingerprint {manifest['machine']}, here "
            f"{here}): it cannot go on here. Start a new run, and combine both with python -m bench.merge"
        )
    configs = [from_plain(job) for job in manifest["jobs"]]
    if [cell.to_json() for cell in make_plan(configs).cells] != manifest["cells"]:
        raise ConfigError(f"{folder} was planned by a version that measures other cells. Start a new run.")
    cut_off_half_line(folder / records_name)
    return manifest, configs, read_records(folder / records_name)


def cut_off_half_line(path: Path) -> None:
    """Shorten a file of lines to its last whole one."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
