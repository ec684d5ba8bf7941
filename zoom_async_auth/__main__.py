"""`python -m zoom_async_auth`: the command."""

import sys

from zoom_async_auth.cli import main

if __name__ == "__main__":
    sys.exit(main())
