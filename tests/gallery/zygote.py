"""A process that has imported the frameworks once, and forks for each script: importing them takes longer than training.

It reads requests from its standard input, a line of JSON each, and answers with the exit status of the child. With
``autolog`` the script runs as if its first lines were ``import tachograph; tachograph.autolog()``. Nothing of ours is
imported here, so that what runs without it runs without it.
"""

import gc
import json
import os
import runpy
import signal
import sys
import time

import keras  # noqa: F401
import lightning  # noqa: F401
import optuna  # noqa: F401
import sklearn.ensemble
import sklearn.linear_model
import sklearn.model_selection  # noqa: F401
import torch  # noqa: F401
import xgboost  # noqa: F401

PATIENCE = 200  # seconds


def _status(pid: int) -> int:
    """How a child has ended, as subprocess would say it."""
    end = time.monotonic() + PATIENCE
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            end += PATIENCE
        time.sleep(0.005)


def _become(request: dict) -> None:
    """The child: a process that was started for this script."""
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    os.setpgid(0, 0)
    streams = [
        os.open(os.devnull, os.O_RDONLY),
        *(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("output", "errors")),
    ]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv[:] = request["command"]
    if request["autolog"]:
        import tachograph

        tachograph.autolog()


def _next() -> None:
    """Fork for each request; returns in the child."""
    gc.collect()
    gc.freeze()  # what was imported is no garbage of the children's
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return _become(request)
        print(_status(pid), flush=True)
    os._exit(0)


_next()
if sys.argv[0] == "-m":
    del sys.argv[0]
    sys.path[0] = os.getcwd()
    runpy._run_module_as_main(sys.argv[0])  # as `python -m` does
else:
    with open(sys.argv[0]) as _file:
        _code = compile(_file.read(), sys.argv[0], "exec", dont_inherit=True)
    sys.path[0] = os.path.dirname(sys.argv[0])
    for _name in [name for name in globals() if not name.startswith("__") and name != "_code"]:
        del globals()[_name]
    __doc__, __file__, _name = None, __import__("sys").argv[0], None
    exec(_code)
