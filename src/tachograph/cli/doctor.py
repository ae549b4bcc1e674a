"""Say whether trainings would be recorded here, where to, and by which plug-ins; and if not, why.

The exit status is 1 where something is wrong: a store that can't be written, lines in it that can't be read, a plug-in
that is broken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tachograph import __version__, settings, sinks, wording
from tachograph.cli import with_store
from tachograph.cli.arguments import add_json, add_root
from tachograph.cli.view import draw
from tachograph.hooks import plugin_status
from tachograph.redaction import redact_url
from tachograph.ship import positions
from tachograph.ship.delivery import Delivery, Lag, Unread
from tachograph.store import document
from tachograph.store.local import FolderQuestions
from tachograph.store.store import Store
from tachograph.upkeep import caches

EXAMPLES = """\
  tachograph doctor
  tachograph doctor --json | jq '.plugins[] | select(.state != "ready")'
"""
# What each setting is by default, in words.
SETTINGS = {
    "dir": "the nearest .tachograph, else a new one here",
    "experiment": "default",
    "sinks": "none",
    "token": "none",
    "exit_wait": "5 seconds",
    "detach": "no",
    "console": "on",
    "off": "no",
    "strict": "no",
}
LITTLE = 1 << 30  # free bytes: fewer are a problem
STATE_STYLES = {"even": "green", "behind": "yellow", "unknown": "bold red"} | {
    "ready": "green",
    "untested": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "absent": "dim",
}


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """1 where something is wrong, else 0."""
    plugins = plugin_status.of_all()
    report = {
        "version": __version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "store": _store(store),
        "settings": _settings(),
        "sinks": _sinks(_folder(store)),
        "caches": _caches(),
        "plugins": [plugin._asdict() for plugin in plugins],
    }
    problems = list(_problems(report))
    if options.json:
        document.write({**report, "problems": problems})
    else:
        _draw(report, problems)
    return 1 if problems else 0


def _folder(store: Store) -> Path:
    """Where trainings are recorded: the store's folder; where the store is elsewhere, the one of this machine."""
    return store.root if type(store.questions) is FolderQuestions else settings.root()


def _store(store: Store) -> dict[str, Any]:
    """What is in the store; of a folder also whether it can be written, and how much room there is."""
    status = Counter(run.status for run in store.scan(children=True))
    facts = {
        "root": store.name,
        "runs": status.total(),
        "running": status["running"],
        "crashed": status["crashed"],
        "damage": [{"path": str(item.path), "line": item.line, "reason": item.reason} for item in store.damage],
    }
    if type(store.questions) is not FolderQuestions:
        return {**facts, "exists": True, "writable": None, "free": None}
    folder = _nearest_existing(store.root)
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    return {**facts, "exists": store.root.is_dir(), "writable": writable, "free": shutil.disk_usage(folder).free}


def _sinks(root: Path) -> list[dict[str, Any]]:
    """Each sink that is set, or that runs of this store were recorded with: how far they were sent."""
    by_name = {each.name: each for each in positions.of_store(root)}
    unused = [name for name in map(redact_url, settings.sinks()) if name not in by_name]
    by_name |= {name: positions.Positions(root, name) for name in unused}
    return [_sink(root, each) for each in by_name.values()]


def _sink(root: Path, known: positions.Positions) -> dict[str, Any]:
    lags = list(_lags(root, known))
    behind = [lag for lag in lags if lag.bytes]
    oldest = min((lag.oldest for lag in behind if lag.oldest is not None), default=None)
    error = known.last_error()
    rejected = {run: len(known.rejected(run)) for run in known.runs_with_rejects()}
    is_known = sinks.scheme(known.name) in sinks.schemes()
    return {
        "url": known.name,
        "state": "unknown" if not is_known else "behind" if behind else "even",
        "sent": len(known.sent()),
        "runs": len(behind),
        "events": sum(lag.events for lag in behind),
        "bytes": sum(lag.bytes for lag in behind),
        "oldest": oldest and datetime.fromtimestamp(oldest, UTC),
        "error": error and {"at": datetime.fromtimestamp(error.at, UTC), "reason": error.why},
        "rejected": [
            {"run": run, "count": count, "file": str(known.rejects_path(run))} for run, count in rejected.items()
        ],
    }


def _lags(root: Path, sink: positions.Positions) -> Iterator[Lag]:
    """What is still to be sent of each run. Runs that can't be read are left out: the store's damage has them."""
    for run in sink.unsent():
        with contextlib.suppress(Unread):
            if (root / "runs" / run).is_dir():
                yield Delivery(sink, run).lag()


def _caches() -> dict[str, Any]:
    """How much is cached of other stores in the user's cache folder, and how much of that was not used for long."""
    existing, unused = caches.existing(), caches.unused()
    return {
        "folder": str(caches.folder()),
        "count": len(existing),
        "bytes": sum(cache.size for cache in existing),
        "unused": sum(cache.size for cache in unused),
    }


def _nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _settings() -> list[dict[str, Any]]:
    """Each setting with its value, and where that comes from."""
    rows = []
    for name, default in SETTINGS.items():
        variable = f"TACHOGRAPH_{name.upper()}"
        value = settings.get(name)
        source = variable if os.environ.get(variable) else "default" if value is None else "pyproject.toml"
        if name == "token":
            value = value and "set"
        elif name == "sinks":
            value = ", ".join(map(redact_url, settings.sinks())) or None
        rows.append({"name": name, "value": default if value is None else value, "source": source})
    return rows


def _problems(report: dict[str, Any]) -> Iterator[str]:
    """What is wrong, a line for each, which says what to do."""
    store = report["store"]
    if store["writable"] is False:
        yield f"{store['root']} can't be written: set TACHOGRAPH_DIR to a folder that can"
    if store["free"] is not None and store["free"] < LITTLE:
        yield f"only {wording.size(store['free'])} are free where {store['root']} lies"
    if store["damage"]:
        yield f"{wording.count(len(store['damage']), 'line')} can't be read: tachograph verify says where"
    if not report["plugins"]:
        yield "no plug-in is found: tachograph is not installed as a distribution (pip install tachograph)"
    for plugin in report["plugins"]:
        if plugin["state"] == "failed":
            yield f"plug-in {plugin['name']}: {plugin['reason']}"
    for sink in report["sinks"]:
        if sink["state"] == "unknown":
            yield f"{sink['url']}: there is no sink for such URLs; there is one for {', '.join(sinks.schemes())}"
        if sink["error"] and sink["state"] == "behind":
            yield f"{sink['url']} takes nothing, as of {wording.ago(sink['error']['at'])}: {sink['error']['reason']}"
        for rejected in sink["rejected"]:
            what = wording.count(rejected["count"], "line")
            yield f"{sink['url']} did not take {what} of run {rejected['run']}: {rejected['file']} has them, and why"
    if settings.off():
        yield "TACHOGRAPH_OFF is set: nothing is recorded"


def _draw(report: dict[str, Any], problems: list[str]) -> None:
    console = draw.console()
    plugins = report["plugins"]
    draw.show(console, draw.line(f"tachograph {report['version']}, python {report['python']} ({report['executable']})"))
    sections = {
        "Store": _store_columns(report["store"]),
        "Settings": [
            draw.TableColumn("", [row[key] for row in report["settings"]]) for key in ("name", "value", "source")
        ],
        "Sinks": _sink_columns(report["sinks"]),
        "Caches": [draw.TableColumn("", [_cache_line(report["caches"])])],
        "Plug-ins": [
            draw.TableColumn("NAME", [plugin["name"] for plugin in plugins]),
            draw.TableColumn("STATE", [plugin["state"] for plugin in plugins], styles=STATE_STYLES),
            draw.TableColumn("INSTALLED", [plugin["installed"] or "" for plugin in plugins]),
            draw.TableColumn("NEEDS", [" or ".join(plugin["requires"]) for plugin in plugins], rank=2),
            draw.TableColumn("WHY", [plugin["reason"] for plugin in plugins], rank=1),
        ],
    }
    for title, columns in sections.items():
        draw.section(console, title, draw.table(draw.fitting(columns, console.width)))
    draw.show(console, draw.line())
    for problem in problems:
        draw.show(console, draw.line((problem, "red")))
    if not problems:
        draw.show(console, draw.line(("nothing is wrong", "green")))


def _store_columns(store: dict[str, Any]) -> list[draw.TableColumn]:
    state = "" if store["exists"] else " (made by the first run)"
    free = {} if store["free"] is None else {"free": wording.size(store["free"])}
    lines = {
        "root": store["root"] + state,
        **free,
        "runs": f"{store['runs']:,}, of them {store['running']:,} running, {store['crashed']:,} crashed",
    }
    return [draw.TableColumn("", list(lines)), draw.TableColumn("", list(lines.values()))]


def _sink_columns(rows: list[dict[str, Any]]) -> list[draw.TableColumn]:
    if not rows:
        return [draw.TableColumn("", ["none: what is recorded stays on this machine"])]
    return [
        draw.TableColumn("URL", [sink["url"] for sink in rows]),
        draw.TableColumn("STATE", [sink["state"] for sink in rows], styles=STATE_STYLES),
        draw.TableColumn("SENT", [wording.count(sink["sent"], "run") for sink in rows], rank=2),
        draw.TableColumn("LEFT TO SEND", [_lag(sink) for sink in rows]),
        draw.TableColumn("OLDEST", [wording.ago(sink["oldest"]) if sink["oldest"] else "" for sink in rows], rank=1),
        draw.TableColumn("REJECTED", [str(sum(lines["count"] for lines in sink["rejected"]) or "") for sink in rows]),
    ]


def _cache_line(row: dict[str, Any]) -> str:
    much = f"{wording.size(row['bytes'])} of {wording.count(row['count'], 'store')} in {row['folder']}"
    old = f", {wording.size(row['unused'])} unused for long: tachograph gc deletes that" if row["unused"] else ""
    return much + old if row["count"] else "none"


def _lag(sink: dict[str, Any]) -> str:
    if not sink["runs"]:
        return ""
    events, runs = wording.count(sink["events"], "event"), wording.count(sink["runs"], "run")
    return f"{events} ({wording.size(sink['bytes'])}) of {runs}"
