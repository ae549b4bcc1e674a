"""How many secrets are found, and how much that is harmless is mistaken for one, in lines as people write them."""

import time
from pathlib import Path

import pytest

from tachograph.redaction import redact_text

# One example a line, with \\n between its own lines; a secret one holds "Zq7hunter2", whole or in two parts.
CORPUS = Path(__file__).parent / "redaction_corpus"


def _redacted(name: str) -> list[tuple[str, str]]:
    lines = (CORPUS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    examples = [line.replace("\\n", "\n") for line in lines]
    return [(example, redact_text(example, code=name.endswith("code"))) for example in examples]


def test_secrets_are_found_as_people_write_them() -> None:
    results = _redacted("secrets_in_code") + _redacted("secrets_in_text")
    missed = [line for line, redacted in results if any(part in redacted for part in ("Zq7", "ter2"))]
    rate = 1 - len(missed) / len(results)
    print(f"found {rate:.1%} of {len(results)} secrets; missed: {missed}")
    assert len(results) >= 100
    assert rate >= 0.95


def test_what_is_harmless_stays() -> None:
    results = _redacted("harmless_in_code") + _redacted("harmless_in_text")
    changed = [(line, redacted) for line, redacted in results if line != redacted]
    rate = len(changed) / len(results)
    print(f"changed {rate:.1%} of {len(results)} harmless examples: {changed}")
    assert len(results) >= 200
    assert rate <= 0.02


PIECES = ['password="', "password=(", "token:[", "login("]


def _seconds(text: str) -> float:
    started = time.process_time()
    redact_text(text, code=True)
    redact_text(text)
    return time.process_time() - started


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_time_is_linear_in_the_length(piece: str) -> None:
    line = "password token key login " + piece * (200_000 // len(piece))
    short = min(_seconds(line[:50_000]) for _ in range(3))
    assert min(_seconds(line) for _ in range(2)) < 8 * max(short, 0.02)
