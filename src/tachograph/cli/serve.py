"""Serve a store to sinks and to people, by HTTP.

A server that other machines can reach needs a token first (tachograph token create); clients show it in
TACHOGRAPH_TOKEN. One that listens on this machine alone and has no token lets everybody on the machine in. The API is
described at /api/v1/openapi.json.

Runs are kept in the store's folder, where all other commands read them too, or with --database in PostgreSQL, for
several servers side by side. Its password is better not in the URL but in PGPASSWORD or ~/.pgpass. Servers on several
machines need --blobs, too: a bucket, or a folder that all of them see.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from tachograph import settings
from tachograph.cli.arguments import UsageError, path_or_url, whole_number
from tachograph.errors import Error

EXAMPLES = """\
  tachograph serve
  tachograph serve --root /srv/tachograph --host 0.0.0.0 --certfile cert.pem --keyfile key.pem
  tachograph serve --database postgresql://tachograph@db.example.com/runs --blobs s3://bucket/prefix
  TACHOGRAPH_SINKS=http://127.0.0.1:8321 python train.py
"""


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    help = "the store's folder (default: TACHOGRAPH_DIR, ./.tachograph)"
    parser.add_argument("--root", metavar="DIR", type=path_or_url, help=help)
    parser.add_argument("--database", metavar="URL", help="keep the runs in PostgreSQL: postgresql://user@host/name")
    parser.add_argument(
        "--blobs",
        metavar="URL",
        type=path_or_url,
        help="with --database, where files go: s3://, gs://, az://, a folder",
    )
    parser.add_argument("--host", metavar="HOST", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="PORT", type=whole_number, default=8321, help="default: 8321; 0: a free one")
    parser.add_argument("--certfile", metavar="FILE", type=Path, help="for TLS: the certificate")
    parser.add_argument("--keyfile", metavar="FILE", type=Path, help="for TLS: its key")


def run(options: Namespace) -> int:
    """0 when it was told to end."""
    if bool(options.certfile) != bool(options.keyfile):
        raise UsageError("TLS needs --certfile and --keyfile")
    if options.blobs and not options.database:
        raise UsageError("--blobs goes with --database: a folder keeps its files in itself")
    if options.port > 65535:
        raise UsageError(f"there is no port {options.port}")
    try:
        from tachograph.server.listen import StorageAddress, serve
    except ModuleNotFoundError as error:
        raise Error(f"{error.name} is not installed: pip install 'tachograph[server]' brings it") from None
    root = Path(options.root).expanduser().absolute() if options.root else settings.root()
    address = StorageAddress(root, options.database, options.blobs)
    serve(address, options.host, options.port, options.certfile, options.keyfile)
    return 0
