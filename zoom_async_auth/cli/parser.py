"""What the command understands. Each option is, by its name, an argument of the `run` of that command's module."""

import argparse
import math
import sys
from typing import TypeAlias

_EXIT_CODES = """exit codes: 0 done, 1 the demo, a store command or the doctor found something wrong,
2 wrong arguments, 3 wrong configuration, 4 no token now (try later), 5 a person has to log in,
126 and 127 exec could not run the command, 130 interrupted, 141 nobody reads the output;
exec ends with the code of its command"""

_ENVIRONMENT = "ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET and ZOOM_BASE_URL"
_WHOSE = f"""The app's own token: ZOOM_ACCOUNT_ID, {_ENVIRONMENT} name the app.
With --as-user that of a person who has logged in: without ZOOM_ACCOUNT_ID, and for a public client without a secret."""
_OF_A_PERSON = f"{_ENVIRONMENT} name the app; a public client has no secret."

_OUTAGE = """an outage of the token endpoint, and its end, with the address that is printed:
  curl --data 'any#1-:answer=503' "$ZOOM_BASE_URL/_sandbox/faults"
  curl --request DELETE "$ZOOM_BASE_URL/_sandbox/faults\""""

_STORE_ACTIONS = {
    "check": "see whether it answers, can be written, is durable, agrees on the time, and opens with ZOOM_STORE_KEYS",
    "list": "list the identities whose tokens it keeps",
    "rewrap": "seal all tokens with the first key of ZOOM_STORE_KEYS, or with that of the keyring",
    "forget": "forget one identity, also one whose record cannot be read",
}

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- it has no public name


class _ShowVersion(argparse.Action):
    """Asks for the version only when somebody wants it: what knows it takes time to load."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 -- see above

        sys.stdout.write(f"{parser.prog} {version('zoom_async_auth')}\n")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="zoom-async-auth",
        description="A valid Zoom access token at every moment.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, default=argparse.SUPPRESS, help="show the version and exit"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _login,
        _token,
        _exec,
        _inspect,
        _revoke,
        _logout,
        _doctor,
        _store,
        _pool,
        _demo,
        _sandbox,
        _completion,
    ):
        add(commands)
    return parser


def _login(commands: _Commands) -> None:
    login = commands.add_parser(
        "login",
        help="log a person in, in a browser or on another device",
        description=f"Log a person in, and keep the tokens. {_OF_A_PERSON}",
    )
    login.add_argument("--device", action="store_true", help="show a code to type in on any other device")
    login.add_argument("--no-browser", action="store_false", dest="browser", help="show the address, open nothing")
    login.add_argument(
        "--port",
        type=_port,
        default=0,
        help="of the redirect URI http://127.0.0.1:PORT/callback, if the app is registered with one (0: any)",
    )
    login.add_argument("--path", type=_path, default="/callback", help="of that redirect URI (/callback)")
    login.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds to wait for the person (300; --device: as Zoom says)"
    )
    _add_person(login)
    login.add_argument("--json", action="store_true", dest="as_json", help="as lines of JSON: what to open, the result")


def _token(commands: _Commands) -> None:
    token = commands.add_parser("token", help="print a token, of the app or of a person", description=_WHOSE)
    _add_whose(token)
    form = token.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", dest="as_json", help="with lifetime, scope and API address, as JSON"
    )
    form.add_argument("--header", action="store_true", dest="as_header", help="as a header line, for curl --header @-")


def _exec(commands: _Commands) -> None:
    run = commands.add_parser(
        "exec",
        help="run a command with ZOOM_ACCESS_TOKEN set",
        usage="zoom-async-auth exec [-h] [--as-user] [--key KEY] [--valid-for S] ... -- CMD [ARGUMENT ...]",
        description="Run CMD in the place of this process, with ZOOM_ACCESS_TOKEN set, and ZOOM_API_URL if Zoom says "
        f"where the API of the account is. {_WHOSE}",
    )
    _add_whose(run)
    run.add_argument(
        "--valid-for",
        type=_seconds_or_zero,
        default=600.0,
        metavar="S",
        help="seconds that the token has left at least (600)",
    )
    run.add_argument(
        "--keep-env",
        action="store_true",
        help="do not remove ZOOM_CLIENT_SECRET, ZOOM_STORE_KEYS and ZOOM_STORE_URL from its environment",
    )
    run.add_argument("arguments", nargs="+", metavar="CMD", help="the command and its arguments, after --")


def _inspect(commands: _Commands) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what a token says of itself, not the token",
        description=f"Times, scopes and ids; never the token. What is kept is looked at as it is. {_WHOSE}",
    )
    _add_whose(inspect)
    _add_json(inspect)


def _revoke(commands: _Commands) -> None:
    revoke = commands.add_parser(
        "revoke",
        help="have Zoom kill a person's tokens, then forget them",
        description=f"Have Zoom kill the tokens, then forget them; if Zoom fails all stays as it was. {_OF_A_PERSON}",
    )
    _add_person(revoke)
    _add_json(revoke)


def _logout(commands: _Commands) -> None:
    logout = commands.add_parser(
        "logout",
        help="forget a person's tokens, also if Zoom cannot be told",
        description=f"Have Zoom kill the tokens if that can be done, and forget them in any case. {_OF_A_PERSON}",
    )
    logout.add_argument("--local", action="store_true", help="do not tell Zoom")
    _add_person(logout)
    _add_json(logout)


def _doctor(commands: _Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="look for what is wrong, and say what to do",
        description=f"Credentials, network, clock, Zoom's answer, store and keyring, one line each. {_WHOSE}",
    )
    _add_whose(doctor)
    doctor.add_argument(
        "--probe", action="store_true", help="find out how Zoom itself behaves; spends tokens of a real account"
    )
    _add_json(doctor)


def _store(commands: _Commands) -> None:
    store = commands.add_parser("store", help="look after a store: check, list, rewrap, forget")
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, told in _STORE_ACTIONS.items():
        action = actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}. Shows no secret.")
        if name == "forget":
            action.add_argument("key", metavar="KEY", help="as list shows it")
        action.add_argument(
            "url",
            nargs="?",
            metavar="URL",
            help="sqlite:///..., postgresql://... or redis://...; else ZOOM_STORE_URL, else where login keeps tokens",
        )
        _add_json(action)


def _pool(commands: _Commands) -> None:
    pool = commands.add_parser("pool", help="watch the identities of a running fleet: top")
    actions = pool.add_subparsers(required=True, metavar="ACTION")
    top = actions.add_parser(
        "top",
        help="show how many are valid, due, renewed, dead or in doubt",
        description="Show how many identities are valid, due, renewed, dead or in doubt, as their database tells: in a "
        "terminal again and again, elsewhere once. Shows no key and no secret.",
    )
    top.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="sqlite:///... or postgresql://..., without a password: others can read it here; "
        "else ZOOM_STORE_URL, else where login keeps tokens",
    )
    often = top.add_mutually_exclusive_group()
    often.add_argument("--every", type=_seconds, metavar="S", help="seconds between two looks (5, in a terminal)")
    often.add_argument("--once", action="store_true", help="look once")
    top.add_argument("--json", action="store_true", dest="as_json", help="as a line of JSON for each look")


def _demo(commands: _Commands) -> None:
    demo = commands.add_parser("demo", help="show the manager at work, on a sandbox of its own")
    demo.add_argument("--callers", type=_count, default=200, metavar="N", help="tasks that ask all the time (200)")
    demo.add_argument("--seconds", type=_demo_length, default=20.0, metavar="S", help="how long, 8 at least (20)")
    demo.add_argument(
        "--json", action="store_true", dest="as_json", help="print nothing but the summary, as one JSON object"
    )


def _sandbox(commands: _Commands) -> None:
    sandbox = commands.add_parser(
        "sandbox",
        help="serve Zoom's OAuth on this host until interrupted",
        epilog=_OUTAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sandbox.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    sandbox.add_argument("--port", type=_port, default=0, help="0: any that is free (0)")
    sandbox.add_argument("--token-lifetime", type=_seconds, default=3600.0, metavar="S", help="seconds (3600)")
    sandbox.add_argument(
        "--latency", type=_seconds_or_zero, default=0.0, metavar="S", help="seconds until an answer (0)"
    )
    sandbox.add_argument(
        "--fault",
        action="append",
        default=[],
        dest="faults",
        metavar="WHERE:WHAT",
        help="what goes wrong, as refresh_token#2:reset-after or any#1-:answer=503; may be given again",
    )
    sandbox.add_argument(
        "--json", action="store_true", dest="as_json", help="print address and credentials as one line of JSON"
    )


def _completion(commands: _Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        description='For bash: eval "$(zoom-async-auth completion bash)".',
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])


def _add_whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as-user",
        action="store_true",
        help="the token of a person who has logged in; --key, --client-id and --store imply it",
    )
    _add_person(parser)


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", help="whose login it is, if there are several (default)")
    parser.add_argument("--client-id", metavar="ID", help="of the app that people log in to; else ZOOM_CLIENT_ID")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where tokens are kept, sealed with ZOOM_STORE_KEYS if those are set; else ZOOM_STORE_URL, else a file "
        "in your data folder, sealed with a key in the keyring of the system",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="as JSON")


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


def _seconds_or_zero(text: str) -> float:
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


def _path(text: str) -> str:
    if not (text.startswith("/") and text.isascii() and text.isprintable()) or set(text) & set(" ?#%\\{}"):
        raise argparse.ArgumentTypeError(f"a path such as /callback expected, not {text!r}")
    return text
