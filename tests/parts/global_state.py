"""What autolog and a run may change of the process, to see that it is put back."""

from __future__ import annotations

import argparse
import builtins
import random
import signal
import sys
import threading
import warnings
from typing import Any

import numpy as np


def snapshot() -> dict[str, Any]:
    """All that autolog and a run may change, by name."""
    return {
        "Thread.start": vars(threading.Thread)["start"],
        "parse_known_args": vars(argparse.ArgumentParser)["parse_known_args"],
        "random.seed": random.seed,
        "numpy.random.seed": np.random.seed,
        "sys.exit": sys.exit,
        "sys.excepthook": sys.excepthook,
        "sys.stdout": sys.stdout,
        "sys.stdout.write": vars(sys.stdout).get("write"),
        "sys.stderr.write": vars(sys.stderr).get("write"),
        "SIGINT": signal.getsignal(signal.SIGINT),
        "import": builtins.__import__,
        "finder": sys.meta_path[0],
        "finders": len(sys.meta_path),
        "showwarning": warnings.showwarning,
    }
