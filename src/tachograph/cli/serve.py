"""Serve a store to sinks and to people, by HTTP.

A server that other machines can reach needs a token first (tachograph token create); clients show it in
TACHOGRAPH_TOKEN. One that listens on this machine alone and has no token lets everybody on the machine in. The API is
described at /api/v1/openapi.json.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from tachograph import settings
from tachograph.cli.arguments import UsageError, whole_number
from tachograph.errors import Error

EXAMPLES = """\
  tachograph serve
  tachograph serve --root /srv/tachograph --host 0.0.0.0 --certfile cert.pem --keyfile key.pem
  TACHOGRAPH_SINKS=http://127.0.0.1:8321 python train.py
"""


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--root", metavar="DIR", help="the store's folder (default: TACHOGRAPH_DIR, ./.tachograph)")
    parser.add_argument("--host", metavar="HOST", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="PORT", type=whole_number, default=8321, help="default: 8321; 0: a free one")
    parser.add_argument("--certfile", metavar="FILE", type=Path, help="for TLS: the certificate")
    parser.add_argument("--keyfile", metavar="FILE", type=Path, help="for TLS: its key")


def run(options: Namespace) -> int:
    """0 when it was told to end."""
    if bool(options.certfile) != bool(options.keyfile):
        raise UsageError("TLS needs --certfile and --keyfile")
    if options.port > 65535:
        raise UsageError(f"there is no port {options.port}")
    try:
        from tachograph.server.serving import serve
    except ModuleNotFoundError as error:
        raise Error(f"{error.name} is not installed: pip install 'tachograph[server]' brings it") from None
    root = Path(options.root).expanduser().absolute() if options.root else settings.root()
    serve(root, options.host, options.port, options.certfile, options.keyfile)
    return 0
