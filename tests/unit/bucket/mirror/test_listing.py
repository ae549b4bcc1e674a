"""Requests that run ahead of those whose answers are waited for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tachograph.bucket.mirror import listing
from tachograph.bucket.mirror.listing import ahead


def test_jobs_run_ahead_in_order_and_within_bounds(monkeypatch):
    monkeypatch.setattr(listing, "AHEAD_BYTES", 50)
    begun: list[int] = []
    lock = threading.Lock()

    def job(number: int) -> int:
        with lock:
            begun.append(number)
        time.sleep(0.001 * (number % 3))
        return number * 2

    with ThreadPoolExecutor(4) as pool:
        jobs = ((number, 10, lambda number=number: job(number)) for number in range(40))
        for count, (number, result) in enumerate(ahead(pool, jobs)):
            assert (number, result) == (count, 2 * count)
            assert len(begun) <= count + 7  # five of ten bytes, one more, and this one


def test_a_fault_of_a_job_comes_out():
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(ahead(pool, ((number, 0, lambda number=number: 1 // (3 - number)) for number in range(9))))
