"""The files of a version."""

from __future__ import annotations

from argparse import Namespace
from time import monotonic

from tachograph import wording
from tachograph.cli.arguments import UsageError, path_or_url
from tachograph.cli.model import command
from tachograph.cli.output import Status, say
from tachograph.store import document
from tachograph.store.store import Store

PATIENCE = 1.0  # seconds before it is shown that files are copied


def configure(commands: command.Commands) -> None:
    """Add it."""
    get = command.add(commands, "get", "copy a version's file or folder, each byte checked against its digest", _get)
    command.add_version(get)
    get.add_argument("--to", metavar="DIR", type=path_or_url, required=True, help="where to; made if it isn't there")


def _get(options: Namespace, store: Store) -> int:
    if not options.to:
        raise UsageError("--to needs a folder")
    version = command.version(store, options.version)
    artifact, status, copied, began = version.artifact, Status(), 0, monotonic()

    def on_copied(size: int) -> None:
        nonlocal copied
        copied += size
        if monotonic() - began > PATIENCE:
            status.show(f"{version}: {wording.size(copied)} of {wording.size(artifact.size)}")

    try:
        path = artifact.copy_to(options.to, on_copied)
    finally:
        status.clear()
    if options.json:
        document.write(
            {
                "name": version.name, "version": version.version, "path": str(path), "digest": artifact.digest,
                "size": artifact.size, "copied": copied,
            }
        )  # fmt: skip
    else:
        say(str(path))
    return 0
