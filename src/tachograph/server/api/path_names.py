"""Names in addresses that become parts of paths on disk: what they may look like."""

from __future__ import annotations

import re

from tachograph.server.api.responses import Refused

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}[A-Za-z0-9_-]$|^[A-Za-z0-9]$"
DIGEST = r"^sha256:[0-9a-f]{64}$"
UPLOAD = r"^[0-9a-z]{1,32}$"

_is_name = re.compile(NAME).fullmatch
_is_digest = re.compile(DIGEST).fullmatch
_is_device = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE).fullmatch  # files of Windows


def name(text: str, what: str) -> str:
    """``text``, the id of a run or writer. Raises :class:`Refused` where it can't be one."""
    if not _is_name(text) or text.endswith("\n") or _is_device(text):
        raise Refused(400, f"that is no id of a {what}: 1 to 128 letters, digits, '.', '_' and '-', not '.' at an end")
    return text


def digest(text: str) -> str:
    """``text``, a digest. Raises :class:`Refused` where it can't be one."""
    if not _is_digest(text) or text.endswith("\n"):
        raise Refused(400, "that is no digest: it is written sha256: and 64 small hexadecimal digits")
    return text
