"""What can be decided about a model, as it is written: one JSON object each."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from tachograph import events
from tachograph.events import Number, Seconds, Size

FORMAT = 1


class Rule(Struct, omit_defaults=True):
    """What a stage asks of a version; one of these is set.

    ``query`` is a condition in the language of ``where``, ``approvals`` how many people have to approve;
    ``no_failed_checks`` and ``not_by_author`` say that none of its checks failed, and that whoever registered a version
    neither approves nor promotes it.
    """

    query: str | None = None
    approvals: Size | None = None
    no_failed_checks: bool = False
    not_by_author: bool = False

    def __str__(self) -> str:
        if self.query is not None:
            return self.query
        if self.approvals is not None:
            return f"{self.approvals} approval{'s' * (self.approvals != 1)}"
        return "no failed checks" if self.no_failed_checks else "not by the one who registered it"


class Data(Struct, omit_defaults=True):
    """A data set that a version was trained or evaluated on."""

    name: str
    role: str
    digest: str = ""


class Written(Struct, omit_defaults=True, kw_only=True):
    """What all decisions share, of kinds that came later too. ``by`` is the person, ``host`` the machine; ``at`` is in
    seconds since 1970.

    ``refused`` says why it was not carried out, each reason in a line; then it changes nothing, but is on record.
    ``previous`` is the digest of the decision before it, "" for the first one.
    """

    v: int = FORMAT
    number: Size = 0
    at: Seconds = 0.0
    by: str = ""
    host: str = ""
    previous: str = ""
    reason: str | None = None
    refused: list[str] = []


class Decision(Written, tag_field="kind", omit_defaults=True, kw_only=True):
    """A decision of a kind that this version knows."""


class Registered(Decision, tag="registered", kw_only=True):
    """A version: an artifact of a run, with what was known of that run then."""

    version: str
    run: str
    artifact: events.Artifact
    run_name: str = ""
    experiment: str | None = None
    params: dict[str, Any] = {}
    metrics: dict[str, Number] = {}
    datasets: list[Data] = []
    tags: dict[str, str] = {}
    description: str | None = None


class Staged(Decision, tag="staged", kw_only=True):
    """A version was brought to a stage; with ``rollback`` again, since the one that came after it did not do.

    ``condition`` was asked for by the one who did, beside the stage's rules.
    """

    version: str
    stage: str
    condition: str | None = None
    rollback: bool = False


class Approval(Decision, tag="approved", kw_only=True):
    """Somebody approved a version."""

    version: str


class Rejection(Decision, tag="rejected", kw_only=True):
    """Somebody rejected a version."""

    version: str


class Aliased(Decision, tag="aliased", kw_only=True):
    """An alias stands for a version from now on; for none, where that is None."""

    alias: str
    version: str | None = None


class Protected(Decision, tag="protected", kw_only=True):
    """An alias moves only to versions that keep the rules of the stage ``production``; no longer, if not ``on``."""

    alias: str
    on: bool = True


class Tagged(Decision, tag="tagged", kw_only=True):
    """Labels of a version, or of the model where that is None. A label that is None is removed."""

    tags: dict[str, str | None]
    version: str | None = None


class Noted(Decision, tag="noted", kw_only=True):
    """A remark on a version, or on the model where that is None."""

    text: str
    version: str | None = None


class Ruled(Decision, tag="ruled", kw_only=True):
    """A stage asks something of versions from now on."""

    stage: str
    rule: Rule


class Unruled(Decision, tag="unruled", kw_only=True):
    """The rule that came with the decision ``rule`` no longer holds."""

    rule: Size


class Checked(Decision, tag="checked", kw_only=True):
    """A version was checked for something; the last result under a name counts."""

    version: str
    name: str
    passed: bool
    detail: str | None = None


class Deployed(Decision, tag="deployed", kw_only=True):
    """A version runs in an environment ("live"), was tried there in vain ("failed"), or no longer runs ("retired")."""

    version: str
    environment: str
    status: str = "live"
    url: str | None = None


class Acknowledged(Decision, tag="acknowledged", kw_only=True):
    """Somebody knows that these decisions are lost, and wants to go on without them."""

    lost: list[Size]


class Deleted(Decision, tag="deleted", kw_only=True):
    """A version is not to be used any more. Its number is never given again."""

    version: str


Known: TypeAlias = (
    Registered
    | Staged
    | Approval
    | Rejection
    | Aliased
    | Protected
    | Tagged
    | Noted
    | Ruled
    | Unruled
    | Checked
    | Deployed
    | Acknowledged
    | Deleted
)  # fmt: skip


class UnknownDecision(Written, omit_defaults=True, kw_only=True):
    """A decision of a kind that came with a later version of tachograph: it is kept, and changes nothing here."""

    kind: str


encode = msgspec.json.Encoder().encode
_decode_known = msgspec.json.Decoder(Known).decode
_decode_unknown = msgspec.json.Decoder(UnknownDecision).decode
_KINDS = {str(kind.__struct_config__.tag) for kind in Known.__args__}


def decode(content: bytes) -> Known | UnknownDecision:
    """A decision, of its file's content. Raises ValueError where it is none."""
    try:
        envelope = _decode_unknown(content)
        return _decode_known(content) if envelope.kind in _KINDS else envelope
    except RecursionError:
        raise ValueError("no decision: it is nested too deep") from None


def kind(decision: Known | UnknownDecision) -> str:
    """What was decided, in a word: registered, staged, approved ..."""
    return decision.kind if isinstance(decision, UnknownDecision) else str(decision.__struct_config__.tag)


def plain(decision: Known | UnknownDecision) -> dict[str, Any]:
    """A decision as plain values, for people and programs: what was decided first, then by whom, when and why."""
    values: dict[str, Any] = msgspec.to_builtins(decision)
    left_out = ("kind", "v", "previous", "artifact")
    return {"decision": kind(decision), **{name: value for name, value in values.items() if name not in left_out}}


def digest(content: bytes) -> str:
    """What the next decision has of this one's content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
