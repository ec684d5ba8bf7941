"""The command `zoom-async-auth`. What a command needs is imported when it runs: `--help` costs next to nothing.

Exit codes:
    0    done
    1    something is not as it should be: what the demo saw, a store, what the doctor found
    2    wrong arguments
    3    wrong configuration: only a person can mend it
    4    no token now; later it may work
    5    a person has to log in
    126  `exec`: the command cannot be run
    127  `exec`: there is no such command
    130  interrupted
    141  nobody reads the output any more

`exec` ends with the exit code of the command that it runs.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from zoom_async_auth.cli.parser import build_parser
from zoom_async_auth.cli.system import prepare_streams, words_of
from zoom_async_auth.errors import AuthorizationRequiredError, ZoomAuthError

MISCONFIGURED, UNAVAILABLE, UNAUTHORIZED, INTERRUPTED, BROKEN_PIPE = 3, 4, 5, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    prepare_streams()
    if sys.stdout is None:
        sys.stderr.write("zoom-async-auth: the output is closed: there is nowhere to write to\n")
        return MISCONFIGURED
    options = vars(build_parser().parse_args(arguments))
    try:
        command = import_module(f"{__name__}.{options.pop('command')}")
        code: int = command.run(**options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except ZoomAuthError as error:
        sys.stderr.write(f"zoom-async-auth: {error}\n")
        return _exit_code(error)
    except BrokenPipeError:  # whoever read it has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        return BROKEN_PIPE
    except OSError as error:  # the port is taken, for one
        where = "" if error.filename is None else f": {error.filename}"
        sys.stderr.write(f"zoom-async-auth: {words_of(error)}{where}\n")
        return MISCONFIGURED
    return code


def _exit_code(error: ZoomAuthError) -> int:
    if isinstance(error, AuthorizationRequiredError):
        return UNAUTHORIZED
    return UNAVAILABLE if error.transient else MISCONFIGURED
