"""The command `zoom-async-auth`. What a command needs is imported when it runs: `--help` costs next to nothing.

Exit codes:
    0    done
    1    the demo saw what it must never see, or a store is not as it should be
    2    wrong arguments
    3    wrong configuration: only a person can mend it
    4    no token now; later it may work
    5    a person has to authorize the app
    130  interrupted
"""

import argparse
import math
import sys
from collections.abc import Sequence

from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError

MISCONFIGURED, UNAVAILABLE, UNAUTHORIZED, INTERRUPTED = 3, 4, 5, 130

_EXIT_CODES = """exit codes: 0 done, 1 the demo or the store has a trouble, 2 wrong arguments, 3 wrong configuration,
4 no token now (try later), 5 a person has to authorize the app, 130 interrupted"""


_STORE_ACTIONS = {
    "check": "see whether it answers, can be written, is durable, and agrees on the time",
    "list": "list the identities whose tokens it keeps",
    "rewrap": "seal all tokens with the first key of ZOOM_STORE_KEYS (an EncryptedStore)",
    "forget": "forget one identity, also one whose record cannot be read",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ZoomAuthError as error:
        sys.stderr.write(f"zoom-async-auth: {error}\n")
        return _exit_code(error)
    except OSError as error:  # the port is taken, for one
        sys.stderr.write(f"zoom-async-auth: {error.strerror or type(error).__name__}\n")
        return MISCONFIGURED


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "demo":
            from zoom_async_auth.cli import demo  # noqa: PLC0415 -- loads aiohttp

            return demo.run(callers=options.callers, seconds=options.seconds, as_json=options.json)
        case "sandbox":
            from zoom_async_auth.cli import sandbox  # noqa: PLC0415

            return sandbox.run(
                host=options.host,
                port=options.port,
                token_lifetime=options.token_lifetime,
                latency=options.latency,
                faults=options.fault,
                as_json=options.json,
            )
        case "store":
            from zoom_async_auth.cli import store  # noqa: PLC0415

            key = getattr(options, "key", None)
            return store.run(options.action, url=options.url, key=key, as_json=options.json)
        case _:
            from zoom_async_auth.cli import token  # noqa: PLC0415

            return token.run(as_json=options.json, as_header=options.header)


def _exit_code(error: ZoomAuthError) -> int:
    if isinstance(error, AuthorizationRequiredError):
        return UNAUTHORIZED
    return MISCONFIGURED if isinstance(error, ConfigurationError) else UNAVAILABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoom-async-auth",
        description="A valid Zoom access token at every moment.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="show the manager at work, on a sandbox of its own")
    demo.add_argument("--callers", type=_count, default=200, metavar="N", help="tasks that ask all the time (200)")
    demo.add_argument("--seconds", type=_demo_length, default=20.0, metavar="S", help="how long, 8 at least (20)")
    demo.add_argument("--json", action="store_true", help="print nothing but the summary, as one JSON object")

    sandbox = commands.add_parser("sandbox", help="serve Zoom's OAuth on this host until interrupted")
    sandbox.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    sandbox.add_argument("--port", type=_port, default=0, help="0: any that is free (0)")
    sandbox.add_argument("--token-lifetime", type=_seconds, default=3600.0, metavar="S", help="seconds (3600)")
    sandbox.add_argument("--latency", type=_latency, default=0.0, metavar="S", help="seconds until an answer (0)")
    sandbox.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="WHERE:WHAT",
        help="what goes wrong, as refresh_token#2:reset-after or any#1-:answer=503; may be given again",
    )
    sandbox.add_argument("--json", action="store_true", help="print address and credentials as one line of JSON")

    token = commands.add_parser(
        "token",
        help="print a token for the app in the environment",
        description="Reads ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET and ZOOM_BASE_URL.",
    )
    form = token.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="with lifetime, scope and API address, as JSON")
    form.add_argument("--header", action="store_true", help="as a header line, for curl --header @-")

    store = commands.add_parser("store", help="look after a store: check, list, rewrap, forget")
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, told in _STORE_ACTIONS.items():
        action = actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}. Shows no secret.")
        if name == "forget":
            action.add_argument("key", metavar="KEY", help="as list shows it")
        action.add_argument(
            "url", nargs="?", metavar="URL", help="sqlite:///..., postgresql://... or redis://...; else ZOOM_STORE_URL"
        )
        action.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _number(text: str, *, least: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{what} expected, not {text!r}")
    return value


def _seconds(text: str) -> float:
    return _number(text, least=0.1, what="seconds, 0.1 or more,")


def _latency(text: str) -> float:
    return _number(text, least=0.0, what="seconds, 0 or more,")


def _demo_length(text: str) -> float:
    return _number(text, least=8.0, what="seconds, 8 or more,")


def _count(text: str) -> int:
    value = _number(text, least=1, what="a whole number, 1 or more,")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"a whole number, 1 or more, expected, not {text!r}")
    return int(value)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):  # noqa: PLR2004 -- the last port
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535 expected, not {text!r}")
    return int(text)
