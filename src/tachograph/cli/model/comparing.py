"""What differs between two versions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from tachograph import wording
from tachograph.cli.arguments import UsageError
from tachograph.cli.model import command
from tachograph.cli.view import differences, draw, plain_values
from tachograph.cli.view.differences import Values
from tachograph.store import document, model_document
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord


def configure(commands: command.Commands) -> None:
    """Add it."""
    diff = command.add(commands, "diff", "show what differs between two versions, of one model or of two", _diff)
    diff.add_argument("before", metavar="NAME@V")
    diff.add_argument("after", metavar="NAME@V")


def _diff(options: Namespace, store: Store) -> int:
    versions = [command.version(store, key) for key in (options.before, options.after)]
    keys = [str(version) for version in versions]
    if keys[0] == keys[1]:
        raise UsageError(f"{keys[0]} is one version: name two (tachograph model diff --help says more)")
    values = {title: [read(version) for version in versions] for title, read in SECTIONS.items()}
    found = {title: differences.differing(of_both) for title, of_both in values.items()}
    if any(version.run is None for version in versions):
        found["packages"] = {}  # of one alone all would differ
        values["packages"] = []
    if options.json:
        shown = [model_document.of_version(version) for version in versions]
        document.write({"versions": shown, **differences.by_thing(keys, found)})
        return 0
    console = draw.console()
    draw.show(console, _names(versions))
    for title, rows in found.items():
        differences.show(console, title, rows)
    differences.show_rest(console, found, [title for title, of_both in values.items() if any(of_both)])
    return 0


def _data(version: VersionRecord) -> Values:
    return {f"{data.role} {data.name}": data.digest for data in version.datasets}


def _artifact(version: VersionRecord) -> Values:
    """What is known of the files, but for the example, which is data."""
    artifact = version.artifact
    known = {"file": artifact.filename, "digest": artifact.digest, "size": artifact.size}
    meta = {name: value for name, value in artifact.meta.items() if name != "example"}
    return {**known, **{name: value for name, value in meta.items() if not isinstance(value, dict)},
            **differences.flat(meta, *meta)}  # fmt: skip


def _packages(version: VersionRecord) -> Values:
    return {} if version.run is None else plain_values.mapping(version.run.environment.get("packages"))


SECTIONS: dict[str, Callable[[VersionRecord], Values]] = {
    "params": lambda version: version.params,
    "data": _data,
    "artifact": _artifact,
    "packages": _packages,
    "metrics": lambda version: version.metrics,
}


def _names(versions: list[VersionRecord]) -> draw.Group:
    return draw.table(
        [
            draw.TableColumn("", "AB"),
            draw.TableColumn("VERSION", list(map(str, versions))),
            draw.TableColumn("STAGE", [wording.line(version.stage) for version in versions]),
            draw.TableColumn("RUN", [wording.line(version.run_id) for version in versions]),
            draw.TableColumn("REGISTERED", [wording.ago(version.registered) for version in versions], right=True),
        ]
    )
