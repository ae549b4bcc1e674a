"""Make, list and revoke the tokens that clients of a server show it, in TACHOGRAPH_TOKEN.

The roles: read asks, write also sends, admin may everything. A token is shown once, when it is made; the server's
folder, or database, holds a hash of it. What is changed counts at once, also where the server runs.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from tachograph import settings, wording
from tachograph.cli.arguments import Arguments, UsageError, add_json, existing, path_or_url
from tachograph.cli.output import say
from tachograph.cli.view import draw
from tachograph.server.tokens import ROLES, FolderTokens, Token, Tokens
from tachograph.store import document

EXAMPLES = """\
  tachograph token create training --role write --root /srv/tachograph
  tachograph token list --database postgresql://tachograph@db.example.com/runs
  tachograph token revoke training
"""


def configure(parser: ArgumentParser) -> None:
    """Add its commands and their options."""
    commands = parser.add_subparsers(
        dest="command", metavar="create | list | revoke", required=True, parser_class=Arguments
    )
    create = commands.add_parser("create", help="make a token, and print it")
    create.add_argument("name", metavar="NAME", help="what to call it")
    create.add_argument("--role", choices=ROLES, required=True)
    listing = commands.add_parser("list", help="all tokens, but for their secrets")
    revoke = commands.add_parser("revoke", help="let a token be good no more")
    revoke.add_argument("name", metavar="NAME")
    for command in (create, listing, revoke):
        help = "the server's folder (default: TACHOGRAPH_DIR, ./.tachograph)"
        command.add_argument("--root", metavar="DIR", type=path_or_url, help=help)
        command.add_argument("--database", metavar="URL", help="the server's database, if it has one: postgresql://...")
        add_json(command)


def run(options: Namespace) -> int:
    """0; a name that is taken, or not known, raises."""
    if options.root and "://" in options.root:
        raise UsageError(f"{options.root} is no folder: tokens are made where the server's folder lies")
    commands = {"create": _create, "list": _list, "revoke": _revoke}
    commands[options.command](_tokens(options), options)
    return 0


def _tokens(options: Namespace) -> Tokens:
    if options.database:
        from tachograph.server.postgres import opening

        return opening.tokens(options.database)
    root = Path(options.root).expanduser().absolute() if options.root else settings.root()
    return FolderTokens(root if options.command == "create" or not options.root else existing(root))


def _create(tokens: Tokens, options: Namespace) -> None:
    secret = tokens.create(options.name, options.role)
    if options.json:
        document.write({"name": options.name, "role": options.role, "token": secret})
    else:
        say(secret)


def _list(tokens: Tokens, options: Namespace) -> None:
    all_tokens = tokens.all()
    if options.json:
        document.write([_described(token) for token in all_tokens])
    elif all_tokens:
        columns = [
            draw.TableColumn("NAME", [wording.line(token.name) for token in all_tokens]),
            draw.TableColumn("ROLE", [token.role for token in all_tokens]),
            draw.TableColumn("CREATED", [wording.moment(_moment(token.created)) for token in all_tokens]),
            draw.TableColumn(
                "REVOKED", [wording.moment(_moment(token.revoked)) if token.revoked else "" for token in all_tokens]
            ),
        ]
        draw.show(draw.console(), draw.table(columns))
    else:
        say("there is no token: tachograph token create NAME --role write makes one")


def _revoke(tokens: Tokens, options: Namespace) -> None:
    tokens.revoke(options.name)
    if options.json:
        document.write({"name": options.name, "revoked": True})
    else:
        say(f"token {wording.line(options.name)} is good no more")


def _described(token: Token) -> dict[str, object]:
    revoked = None if token.revoked is None else _moment(token.revoked)
    return {"name": token.name, "role": token.role, "created": _moment(token.created), "revoked": revoked}


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
