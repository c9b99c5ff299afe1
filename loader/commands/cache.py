"""list, verify or clear the prepared models in the user's cache.

'verify' hashes every file again and exits with code 1 if one is damaged. 'clear' removes everything, or only what was
prepared from the given models. If prepared models take more than EMBEDDING_LOADER_CACHE_LIMIT_MB (default: 4096)
in total, the least recently used ones are removed automatically.
"""

import os
import time

from ..errors import ArtifactError, ModelError, ModelNameError, ModelUnreadableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..artifacts.store import Artifact


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=["list", "verify", "clear"], help="what to do")
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="only what was prepared from these models, or these folders"
    )


def run(options: "Namespace") -> None:
    """Run the action; raises ArtifactError if 'verify' finds a damaged model."""
    from ..artifacts import store

    wanted = {name for model in options.models for name in _names(model)}
    chosen = [
        (folder, found)
        for folder, found in store.all_artifacts()
        if not wanted
        or folder in wanted
        or (not isinstance(found, ModelError) and not wanted.isdisjoint(_names(found.manifest.model)))
    ]
    action = {"list": _list, "verify": _verify, "clear": _clear}[options.action]
    action(chosen)


def _names(model: str) -> set[str]:
    """Return all names of a model: also its full path, or its name with the organisation."""
    from ..model.names import repo_ids

    names = {model, os.path.abspath(os.path.expanduser(model))}
    try:
        names.add(repo_ids(model)[0])
    except ModelNameError:
        pass  # a path
    return names


def _list(artifacts: "list[tuple[str, Artifact | ModelError]]") -> None:
    from ..artifacts import store, workshop

    rows = [("MODEL", "PRECISION", "ENGINES", "MIB", "LAST USED", "FOLDER")]
    total, limit = 0, workshop.limit_bytes()
    for folder, found in artifacts:
        if isinstance(found, ModelError):
            what = "unreadable" if isinstance(found, ModelUnreadableError) else "damaged"
            rows.append(("?", "-", "-", "-", "-", f"{folder} ({what})"))
            continue
        total += found.bytes
        manifest = found.manifest
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.last_used)) if found.last_used else "never"
        size = f"{found.bytes / 2**20:.1f}"
        rows.append((manifest.model, manifest.precision, ", ".join(manifest.engines), size, used, folder))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"{total / 2**20:.1f} MiB of {limit / 2**20:.0f} MiB in {store.root()}")


def _verify(artifacts: "list[tuple[str, Artifact | ModelError]]") -> None:
    from ..artifacts.manifest import verify_artifact

    damaged = unread = 0
    for folder, found in artifacts:
        try:
            if isinstance(found, ModelError):
                raise found
            verify_artifact(folder, found.manifest, anew=True)
        except ArtifactError as error:
            damaged += 1
            print(f"damaged  {os.path.basename(folder)}: {error}")
        except ModelUnreadableError as error:
            unread += 1
            print(f"unread   {os.path.basename(folder)}: {error}")
        else:
            print(f"fine     {os.path.basename(folder)}")
    if damaged:
        raise ArtifactError(
            f"{damaged} of {len(artifacts)} prepared models are damaged. They are not used; the next "
            "'python -m loader compile' replaces them."
        )
    if unread:
        raise ModelUnreadableError(
            f"{unread} of {len(artifacts)} prepared models could not be read, so they were not verified."
        )


def _clear(artifacts: "list[tuple[str, Artifact | ModelError]]") -> None:
    from ..artifacts import workshop

    for folder, _ in artifacts:
        workshop.remove_artifact(folder)
        print(f"removed {folder}")
    if not artifacts:
        print("nothing to remove")
