"""Which code trained: the commit, and what was changed since.

Asks the ``git`` program, in a way that leaves no trace: no lock is taken, the index isn't refreshed, nothing is
fetched, and no program that the repository configures for showing differences is run.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

from tachograph.redaction import redact_spans, redact_text, redact_url, secret_spans

UNTRACKED_LIMIT = 100
GRACE = 0.75  # seconds for the answer to one question when somebody waits; they take some thousandths
_OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes of any answer but the diff's
_COUNT_LIMIT = 64 * 1024 * 1024  # bytes of a diff that are counted, not kept
_FILE_LIMIT = 1024 * 1024  # bytes of a changed file that is compared, before or after
_FILES_LIMIT = 16 * 1024 * 1024  # bytes of all of them together
_LEFT_OUT_LIMIT = 1000  # files that git can be told to leave out, in one command line
_SOURCE_SUFFIXES = (
    ".py",
    ".pyi",
    ".pyx",
    ".ipynb",
    ".c",
    ".cc",
    ".cpp",
    ".cu",
    ".h",
    ".hpp",
    ".js",
    ".ts",
    ".rs",
    ".go",
)


class GitState(TypedDict, total=False):
    """What is known of a repository. A key is absent where git gave no answer, and ``error`` says why."""

    root: str  # name of the repository's top folder
    prefix: str  # the asked folder below it, with "/" at the end; "" for the top folder itself
    commit: str | None  # None before the first commit
    branch: str | None  # None when detached
    remote: str | None  # URL of "origin", else of the first remote, without credentials
    dirty: bool  # whether tracked files differ from the commit
    diff: str  # the difference, staged or not, without secrets
    diff_bytes: int | None  # size of the whole difference; None where it is beyond counting
    diff_truncated: bool
    diff_left_out: dict[str, int]  # changed files too large to compare, and their bytes now or before; absent if none
    diff_redacted: bool  # whether a secret was taken out, so that the diff no longer applies cleanly
    untracked: list[str]  # at most 100 paths; an untracked folder is one path
    untracked_truncated: bool
    error: str
    late: bool  # present where the error is that git took too long


@dataclass
class Hurry:
    """Since when somebody waits for the answers of git: from then on each question gets only ``GRACE`` seconds."""

    since: float = math.inf


def git_state(folder: str | os.PathLike[str], *, diff_limit: int = 256 * 1024, timeout: float = 5.0) -> GitState | None:
    """The state of the repository that holds ``folder``; None where there is no repository or no ``git``.

    ``diff_limit`` is in bytes; a longer diff is cut after its last whole line. ``timeout`` is in seconds, for all
    questions together. What goes wrong within git (a damaged repository, one of another user, no time left) never
    raises: the result then holds what could be learned, and ``error``.
    """
    state = None
    for state in git_states(folder, Hurry(), diff_limit=diff_limit, timeout=timeout):  # noqa: B007
        pass
    return state


def git_states(
    folder: str | os.PathLike[str], hurry: Hurry, *, diff_limit: int = 256 * 1024, timeout: float = 5.0
) -> Iterator[GitState]:
    """:func:`git_state` as it grows, the cheap answers first: the commit, then what is changed, then the difference."""
    git = _Git(os.fspath(folder), time.monotonic() + timeout, hurry)
    state: GitState = {}
    try:
        top = _locate(git, state)
        _commit(git, state)
        yield state.copy()
        changed = _status(git, state)
        yield state.copy()
        _diff(git, state, diff_limit, _too_large(git, top, changed))
    except FileNotFoundError:
        return
    except (_GitError, OSError) as error:
        if str(error).startswith("not a git repository (or any"):
            return
        state["error"] = str(error)
        if isinstance(error, _LateError):
            state["late"] = True
    yield state


class _GitError(Exception):
    """git did not answer; the message is its own first line."""


class _LateError(_GitError):
    """git took too long."""


def _locate(git: _Git, state: GitState) -> str:
    """Note which repository it is, and where in it the folder is; returns the path of its top folder."""
    bare, inside = git.ask("rev-parse", "--is-bare-repository", "--is-inside-work-tree").split()
    if inside != "true":
        state["commit"] = _head(git)
        raise _GitError("a bare repository has no files" if bare == "true" else "inside a repository's own folder")
    top, prefix = git.ask("rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    state["root"] = Path(top).name
    state["prefix"] = prefix
    return top


def _commit(git: _Git, state: GitState) -> None:
    """Note commit, branch and remote: git need not look at any file of the user's for these."""
    state["commit"] = _head(git)
    branch = git.ask("symbolic-ref", "--quiet", "HEAD", failing_with=1).strip()
    state["branch"] = branch.removeprefix("refs/heads/") or None
    state["remote"] = _remote(git)


def _head(git: _Git) -> str | None:
    return git.ask("rev-parse", "--verify", "--quiet", "HEAD", failing_with=1).strip() or None


def _remote(git: _Git) -> str | None:
    lines = git.ask("config", "--null", "--get-regexp", r"^remote\..*\.url$", failing_with=1).split("\0")
    urls = dict(line.split("\n", 1) for line in lines if "\n" in line)
    url = urls.get("remote.origin.url") or next(iter(urls.values()), None)
    return redact_url(url) if url else None


def _status(git: _Git, state: GitState) -> dict[str, str]:
    """Note whether tracked files differ from the commit, and untracked paths; returns by path the digest that each
    changed file has in the commit."""
    entries = git.ask("status", "--porcelain=v2", "-z", "--untracked-files=normal", "--no-renames").split("\0")
    untracked = [entry[2:] for entry in entries if entry.startswith("? ")]
    state["dirty"] = any(entry.startswith(("1 ", "2 ", "u ")) for entry in entries)
    state["untracked"] = untracked[:UNTRACKED_LIMIT]
    state["untracked_truncated"] = len(untracked) > UNTRACKED_LIMIT
    ordinary = (entry.split(" ", 8) for entry in entries if entry.startswith("1 "))
    conflicts = (entry.split(" ", 10) for entry in entries if entry.startswith("u "))
    return {fields[8]: fields[6] for fields in ordinary} | {fields[10]: fields[8] for fields in conflicts}


def _too_large(git: _Git, top: str, changed: Mapping[str, str]) -> dict[str, int]:
    """Size by path of the changed files that are not compared: large ones, and others when all are too much together.

    ``git diff`` takes seconds for tens of megabytes, and reads all of a file to show the first lines of it.
    """
    before = _sizes_before(git, set(changed.values()))
    sizes = {path: max(_size_now(top, path), before.get(digest, 0)) for path, digest in changed.items()}
    ascending = sorted(sizes, key=sizes.__getitem__)
    totals = itertools.accumulate(sizes[path] for path in ascending)
    return {
        path: sizes[path]
        for path, total in zip(ascending, totals, strict=True)
        if sizes[path] > _FILE_LIMIT or total > _FILES_LIMIT
    }


def _size_now(top: str, path: str) -> int:
    try:
        return os.lstat(os.path.join(top, path)).st_size
    except (OSError, ValueError):  # it was removed
        return 0


def _sizes_before(git: _Git, digests: set[str]) -> dict[str, int]:
    """Size by digest, as far as git holds the content; a new file's digest, all zeros, has none."""
    if not digests:
        return {}
    question = "".join(f"{digest}\n" for digest in sorted(digests))
    lines = git.ask("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=question).splitlines()
    pairs = (line.split(" ", 1) for line in lines)
    return {digest: int(size) for digest, size in pairs if size.isdigit()}


# --no-ext-diff and --no-textconv: a repository may name programs of its own for these, and they must not run.
_DIFF = (
    "diff",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--submodule=short",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)


def _diff(git: _Git, state: GitState, limit: int, left_out: Mapping[str, int]) -> None:
    if not state["dirty"]:
        state.update({"diff": "", "diff_bytes": 0, "diff_truncated": False, "diff_redacted": False})
        return
    if left_out:
        state["diff_left_out"] = dict(itertools.islice(left_out.items(), _LEFT_OUT_LIMIT))
    if len(left_out) > _LEFT_OUT_LIMIT:
        raise _GitError(f"{len(left_out)} changed files are too large to compare")
    # Before the first commit everything that is staged is new: the difference from nothing.
    against = "HEAD" if state["commit"] else _empty_tree(git)
    answer = git.read(*_DIFF, against, "--", ":/", *map(_except, left_out), limit=limit, count=_COUNT_LIMIT)
    truncated = answer.size is None or answer.size > limit
    kept = answer.data[: answer.data.rfind(b"\n") + 1] if truncated else answer.data
    text = kept.decode(errors="replace")
    diff = "".join(map(_redact_file, _files_of(text)))
    state.update({"diff": diff, "diff_bytes": answer.size, "diff_truncated": truncated, "diff_redacted": diff != text})


def _except(path: str) -> str:
    return f":(top,exclude,literal){path}"


def _empty_tree(git: _Git) -> str:
    """The name of the tree without files; it differs between the kinds of digest that a repository may use."""
    return git.ask("hash-object", "-t", "tree", "--stdin").strip()


def _files_of(diff: str) -> Iterator[str]:
    """The part of each file in ``diff``."""
    starts = [match.start() for match in re.finditer(r"^diff --", diff, re.MULTILINE)]
    for start, end in zip([0, *starts], [*starts, len(diff)], strict=True):
        yield diff[start:end]


def _redact_file(part: str) -> str:
    header = part.partition("\n")[0].rstrip('"')
    is_code, is_notebook = header.endswith(_SOURCE_SUFFIXES), header.endswith(".ipynb")
    hunks = re.split(r"^(?=@@ )", part, flags=re.MULTILINE)
    return redact_text(hunks[0], code=is_code) + "".join(_redact_hunk(hunk, is_code, is_notebook) for hunk in hunks[1:])


def _redact_hunk(hunk: str, is_code: bool, is_notebook: bool) -> str:
    """``hunk`` without secrets: first what its old and its new lines bind together, then what is in each line."""
    lines = hunk.split("\n")
    plain = _without_quotes(lines) if is_notebook else lines
    spans = {span for side in (" -", " +") for span in _spans_of_side(plain, side, code=is_code)}
    hunk = redact_spans(hunk, sorted(spans))
    return _redact_notebook(hunk) if is_notebook else redact_text(hunk, code=is_code)


def _spans_of_side(lines: list[str], side: str, *, code: bool) -> Iterator[tuple[int, int]]:
    """Where in the hunk of ``lines`` the secrets of one side are, none across the end of a line."""
    starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    chosen = [number for number, line in enumerate(lines) if number and line and line[0] in side]
    offsets = [0, *itertools.accumulate(len(lines[number]) for number in chosen)]  # a sign less, a line's end more
    joined = "\n".join(lines[number][1:] for number in chosen)
    for start, end in secret_spans(joined, code=code):
        for index in range(bisect.bisect_right(offsets, start) - 1, bisect.bisect_left(offsets, end)):
            shift = starts[chosen[index]] + 1 - offsets[index]
            first, last = max(start, offsets[index]), min(end, offsets[index + 1] - 1)
            if value := joined[first:last].rstrip():
                yield first + shift, first + shift + len(value)


_NOTEBOOK_KEY = re.compile(r'[-+ ]\s*"([\w/]+)": ')
_NOTEBOOK_OUTPUT = re.compile(r"text|text/\w+|traceback|evalue|application/\w+")
_NOTEBOOK_LINE = re.compile(r'([-+ ]\s*)"(.*?)(?:\\n)?",?')


def _is_output(lines: list[str]) -> Iterator[bool]:
    """Of each of a notebook's lines, whether it is text that a cell printed."""
    answer = False
    for line in lines:
        if key := _NOTEBOOK_KEY.match(line):
            answer = _NOTEBOOK_OUTPUT.fullmatch(key[1]) is not None
        yield answer


def _without_quotes(lines: list[str]) -> list[str]:
    """A notebook's lines of code as they are in a plain file, each as long as before; others are left blank."""
    return [
        line[:1] + " " * (len(line) - 1) if is_output else _unquoted(line)
        for line, is_output in zip(lines, _is_output(lines), strict=True)
    ]


def _unquoted(line: str) -> str:
    match = _NOTEBOOK_LINE.fullmatch(line)
    return f"{match[1]} {match[2]}".replace('\\"', ' "').ljust(len(line)) if match else line


def _redact_notebook(hunk: str) -> str:
    lines = hunk.split("\n")
    outputs = _is_output(lines)
    return "\n".join(redact_text(line, code=not output) for line, output in zip(lines, outputs, strict=True))


@dataclass(frozen=True)
class _Answer:
    data: bytes  # as much as was to be kept
    size: int | None  # bytes of the whole; None where git was stopped before its end


@dataclass(frozen=True)
class _Git:
    """The ``git`` program, asked about one folder until ``deadline`` (seconds of the monotonic clock)."""

    folder: str
    deadline: float
    hurry: Hurry

    def ask(self, *arguments: str, failing_with: int = 0, stdin: str = "") -> str:
        """git's answer; ``stdin`` is what it reads. Exit status ``failing_with`` counts as an answer, too. Raises
        _GitError."""
        answer = self.read(*arguments, limit=_OUTPUT_LIMIT, failing_with=failing_with, stdin=stdin)
        return answer.data.decode(errors="replace")

    def read(self, *arguments: str, limit: int, count: int = 0, failing_with: int = 0, stdin: str = "") -> _Answer:
        """The first ``limit`` bytes of git's answer; up to ``count`` further ones are counted, then git is stopped."""
        with _start(self.folder, arguments, stdin) as process, _Alarm(process, self.deadline, self.hurry) as alarm:
            assert process.stdout is not None
            assert process.stderr is not None
            data = process.stdout.read(limit)
            size = _count(process.stdout, len(data), limit + count)
            if size is None:
                _kill(process)
            message = process.stderr.read(4096).decode(errors="replace")
            status = process.wait()
        if alarm.rang and len(data) < limit:
            raise _LateError(f"git {arguments[0]} did not answer in time")
        if alarm.rang or size is None:
            return _Answer(data, None)
        if status not in (0, failing_with):
            raise _GitError(_first_line(message) or f"git {arguments[0]} ended with status {status}")
        return _Answer(data, size)


class _Alarm:
    """Kills ``process`` at ``deadline``, or when ``hurry`` leaves it no more time, unless the block ends before."""

    def __init__(self, process: subprocess.Popen[bytes], deadline: float, hurry: Hurry) -> None:
        self.rang = False
        self._process, self._deadline, self._hurry = process, deadline, hurry
        self._started = time.monotonic()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Alarm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._answered.set()

    def _watch(self) -> None:
        while not self._answered.wait(min(0.02, self._time_left())):
            if self._time_left() <= 0:
                self.rang = True
                _kill(self._process)
                return

    def _time_left(self) -> float:
        until = min(self._deadline, max(self._started, self._hurry.since) + GRACE)
        return max(0.0, until - time.monotonic())


def _start(folder: str, arguments: tuple[str, ...], stdin: str) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() if stdin else open(os.devnull, "rb") as file:
        if stdin:
            file.write(stdin.encode())
            file.seek(0)
        return subprocess.Popen(
            ["git", *_SETTINGS, "-C", folder, *arguments],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=True,  # out of reach of Ctrl-C, and a group to be killed with all of git's own children
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    elif process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _count(pipe: IO[bytes], size: int, most: int) -> int | None:
    """``size`` and what is still in ``pipe``; None when that is more than ``most``."""
    while chunk := pipe.read(1024 * 1024):
        size += len(chunk)
        if size > most:
            return None
    return size


def _first_line(message: str) -> str:
    """The line of git's ``message`` that says what is wrong."""
    lines = message.splitlines() or [""]
    fatal = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[0])
    return fatal.removeprefix("fatal: ").removeprefix("error: ")


_SETTINGS = [
    "--no-pager",
    *("-c", "core.fsmonitor=false"),  # would start a daemon or a hook
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.quotePath=false"),
    *("-c", "core.safecrlf=false"),  # would warn once for each file
    *("-c", "core.bigFileThreshold=16m"),  # a larger file counts as binary, and isn't loaded
    *("-c", "protocol.allow=never"),  # a partial clone would fetch what it lacks
    *("-c", "diff.noprefix=false"),
    *("-c", "diff.mnemonicPrefix=false"),
    *("-c", "diff.relative=false"),
    *("-c", "status.relativePaths=false"),
]
# Set in a git hook, these would lead to the hook's repository instead of the folder's.
_MISLEADING = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_TRACE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # a status must not write the refreshed index while the user works in the repository
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",  # messages are told apart by their text
}


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in inherited.items() if not key.startswith(_MISLEADING)} | _QUIET
