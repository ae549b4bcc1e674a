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
# What each setting is where nothing sets it.
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
LITTLE = 1 << 30  # bytes that are free
STATE_STYLES = {"even": "green", "behind": "yellow", "unknown": "bold red"} | {
    "ready": "green",
    "untested": "yellow",
    "skipped": "yellow",
    "failed": "bold red",
    "absent": "dim",
}


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """Whether something is wrong."""
    plugins = plugin_status.of_all()
    found = {
        "version": __version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "store": _store(store),
        "settings": _settings(),
        "sinks": _sinks(_folder(store)),
        "caches": _caches(),
        "plugins": [one._asdict() for one in plugins],
    }
    problems = list(_problems(found))
    if options.json:
        document.write({**found, "problems": problems})
    else:
        _draw(found, problems)
    return 1 if problems else 0


def _folder(store: Store) -> Path:
    """Where trainings are recorded: the store's folder; where the store is elsewhere, the one of this machine."""
    return store.root if type(store.questions) is FolderQuestions else settings.root()


def _store(store: Store) -> dict[str, Any]:
    """What there is in it; of a folder also whether it can take more."""
    status = Counter(run.status for run in store.scan(children=True))
    found = {
        "root": store.name,
        "runs": status.total(),
        "running": status["running"],
        "crashed": status["crashed"],
        "damage": [{"path": str(one.path), "line": one.line, "reason": one.reason} for one in store.damage],
    }
    if type(store.questions) is not FolderQuestions:
        return {**found, "exists": True, "writable": None, "free": None}
    place = _existing(store.root)
    writable = place.is_dir() and os.access(place, os.W_OK)
    return {**found, "exists": store.root.is_dir(), "writable": writable, "free": shutil.disk_usage(place).free}


def _sinks(root: Path) -> list[dict[str, Any]]:
    """Each sink that is set, or that something of this store is on its way to: how far that got."""
    known = {one.name: one for one in positions.of_store(root)}
    known |= {name: positions.Positions(root, name) for name in map(redact_url, settings.sinks()) if name not in known}
    return [_sink(root, one) for one in known.values()]


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
        "sent": len(known.settled()),
        "runs": len(behind),
        "events": sum(lag.events for lag in behind),
        "bytes": sum(lag.bytes for lag in behind),
        "oldest": oldest and datetime.fromtimestamp(oldest, UTC),
        "error": error and {"at": datetime.fromtimestamp(error.at, UTC), "reason": error.why},
        "rejected": [
            {"run": run, "count": count, "file": str(known.rejects_path(run))} for run, count in rejected.items()
        ],
    }


def _lags(root: Path, known: positions.Positions) -> Iterator[Lag]:
    """What is left to send of each run that can be read; the others are named as such."""
    for run in known.unsettled():
        with contextlib.suppress(Unread):
            if (root / "runs" / run).is_dir():
                yield Delivery(known, run).lag()


def _caches() -> dict[str, Any]:
    """What is kept of other stores in the user's cache folder; how much of it was not used for long."""
    known, unused = caches.known(), caches.unused()
    return {
        "folder": str(caches.folder()),
        "count": len(known),
        "bytes": sum(one.size for one in known),
        "unused": sum(one.size for one in unused),
    }


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _settings() -> list[dict[str, Any]]:
    """Each setting, and where it comes from."""
    found = []
    for name, default in SETTINGS.items():
        variable = f"TACHOGRAPH_{name.upper()}"
        value = settings.get(name)
        source = variable if os.environ.get(variable) else "default" if value is None else "pyproject.toml"
        if name == "token":
            value = value and "set"
        elif name == "sinks":
            value = ", ".join(map(redact_url, settings.sinks())) or None
        found.append({"name": name, "value": default if value is None else value, "source": source})
    return found


def _problems(found: dict[str, Any]) -> Iterator[str]:
    store = found["store"]
    if store["writable"] is False:
        yield f"{store['root']} can't be written: set TACHOGRAPH_DIR to a folder that can"
    if store["free"] is not None and store["free"] < LITTLE:
        yield f"only {wording.size(store['free'])} are free where {store['root']} lies"
    if store["damage"]:
        yield f"{wording.count(len(store['damage']), 'line')} can't be read: tachograph verify says where"
    if not found["plugins"]:
        yield "no plug-in is found: tachograph is not installed as a distribution (pip install tachograph)"
    for one in found["plugins"]:
        if one["state"] == "failed":
            yield f"plug-in {one['name']}: {one['reason']}"
    for one in found["sinks"]:
        if one["state"] == "unknown":
            yield f"{one['url']}: there is no sink for such URLs; there is one for {', '.join(sinks.schemes())}"
        if one["error"] and one["state"] == "behind":
            yield f"{one['url']} takes nothing, as of {wording.ago(one['error']['at'])}: {one['error']['reason']}"
        for aside in one["rejected"]:
            what = wording.count(aside["count"], "line")
            yield f"{one['url']} did not take {what} of run {aside['run']}: {aside['file']} has them, and why"
    if settings.off():
        yield "TACHOGRAPH_OFF is set: nothing is recorded"


def _draw(found: dict[str, Any], problems: list[str]) -> None:
    console = draw.console()
    store, plugins = found["store"], found["plugins"]
    draw.show(console, draw.line(f"tachograph {found['version']}, python {found['python']} ({found['executable']})"))
    sections = {
        "Store": _pairs(_told(store)),
        "Settings": [
            draw.TableColumn("", [one[key] for one in found["settings"]]) for key in ("name", "value", "source")
        ],
        "Sinks": _told_sinks(found["sinks"]),
        "Caches": [draw.TableColumn("", [_told_caches(found["caches"])])],
        "Plug-ins": [
            draw.TableColumn("NAME", [one["name"] for one in plugins]),
            draw.TableColumn("STATE", [one["state"] for one in plugins], styles=STATE_STYLES),
            draw.TableColumn("INSTALLED", [one["installed"] or "" for one in plugins]),
            draw.TableColumn("NEEDS", [" or ".join(one["requires"]) for one in plugins], rank=2),
            draw.TableColumn("WHY", [one["reason"] for one in plugins], rank=1),
        ],
    }
    for title, columns in sections.items():
        draw.section(console, title, draw.table(draw.fitting(columns, console.width)))
    draw.show(console, draw.line())
    for problem in problems:
        draw.show(console, draw.line((problem, "red")))
    if not problems:
        draw.show(console, draw.line(("nothing is wrong", "green")))


def _told(store: dict[str, Any]) -> dict[str, str]:
    state = "" if store["exists"] else " (made by the first run)"
    free = {} if store["free"] is None else {"free": wording.size(store["free"])}
    return {
        "root": store["root"] + state,
        **free,
        "runs": f"{store['runs']:,}, of them {store['running']:,} running, {store['crashed']:,} crashed",
    }


def _told_sinks(found: list[dict[str, Any]]) -> list[draw.TableColumn]:
    if not found:
        return [draw.TableColumn("", ["none: what is recorded stays on this machine"])]
    return [
        draw.TableColumn("URL", [one["url"] for one in found]),
        draw.TableColumn("STATE", [one["state"] for one in found], styles=STATE_STYLES),
        draw.TableColumn("SENT", [wording.count(one["sent"], "run") for one in found], rank=2),
        draw.TableColumn("LEFT TO SEND", [_lag(one) for one in found]),
        draw.TableColumn("OLDEST", [wording.ago(one["oldest"]) if one["oldest"] else "" for one in found], rank=1),
        draw.TableColumn("REJECTED", [str(sum(aside["count"] for aside in one["rejected"]) or "") for one in found]),
    ]


def _told_caches(found: dict[str, Any]) -> str:
    much = f"{wording.size(found['bytes'])} of {wording.count(found['count'], 'store')} in {found['folder']}"
    old = f", {wording.size(found['unused'])} unused for long: tachograph gc deletes that" if found["unused"] else ""
    return much + old if found["count"] else "none"


def _lag(sink: dict[str, Any]) -> str:
    if not sink["runs"]:
        return ""
    events, runs = wording.count(sink["events"], "event"), wording.count(sink["runs"], "run")
    return f"{events} ({wording.size(sink['bytes'])}) of {runs}"


def _pairs(values: dict[str, str]) -> list[draw.TableColumn]:
    return [draw.TableColumn("", list(values)), draw.TableColumn("", list(values.values()))]
