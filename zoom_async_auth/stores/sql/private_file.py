"""A file that only its owner can read, in a folder where nobody else can put another one in its place."""

import errno
import os
import stat
from typing import Final

from zoom_async_auth.errors import StoreError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_LASTING: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""What the system says of a path until somebody changes it."""


def make_private(path: str, *companions: str) -> StoreError | None:
    """Create the file `path`, mode 0600, unless it is there; refuse it if anybody else could read or replace it.

    It blocks: call it in a thread. What is there is never opened: to close a file that this process has locked by
    another descriptor would drop its locks (POSIX, fcntl).

    Args:
        path: Of the file, absolute. Its folder is created if it is missing, mode 0700, but none above that: the path
            would be a wrong one, mostly.
        companions: Files beside it that are held to the same if they are there.

    Returns:
        Why it was refused, and what to do; None if it is private.
    """
    try:
        folder = os.path.dirname(path)  # noqa: PTH120 -- text in, text out
        if refusal := _make_folder(folder) or _trouble_with_folder(folder):
            return refusal
        _create(path)
        return next(filter(None, map(_trouble_with_file, (path, *companions))), None)
    except OSError as known:
        code = known.errno or 0
        why = f"the file {path!r} cannot be created or looked at: {os.strerror(code) if code else type(known).__name__}"
    if code in _LASTING:
        return _refusal(f"{why}; let the user that runs this program write to its folder, or name a file elsewhere")
    return StoreError(why)


def _make_folder(folder: str) -> StoreError | None:
    if not os.path.isdir(folder):  # noqa: PTH112
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102
        except FileExistsError:
            pass  # another process was faster; or it is no folder, which is told of below
        except FileNotFoundError:
            above = os.path.dirname(folder)  # noqa: PTH120
            return _refusal(f"there is no folder {above!r}: correct the path of the store's file, or make that folder")
    return None


def _trouble_with_folder(folder: str) -> StoreError | None:
    found = os.stat(folder)  # noqa: PTH116
    if found.st_uid not in {0, os.geteuid()}:
        return _refusal(f"the folder {folder!r} belongs to another user, who could replace files in it")
    if found.st_mode & _OTHERS_WRITE:
        # A sticky one, like /tmp, is refused as well: SQLite creates -wal and -shm anew, again and again, through
        # whatever link somebody has put there meanwhile.
        return _refusal(f"others may write to the folder {folder!r}: chmod 700 it, or name a file in a new folder")
    return None


def _create(path: str) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        os.fsync(folder)  # or a loss of power could take the file away, with all that was written to it
    finally:
        os.close(folder)


def _trouble_with_file(path: str) -> StoreError | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return _refusal(f"{path!r} is a link, a folder or a device: name a file")
    if found.st_nlink != 1:
        return _refusal(f"{path!r} has another name (a hard link), under which others may read it: name a new file")
    if found.st_uid != os.geteuid():
        return _refusal(f"{path!r} belongs to another user: chown it to the user that runs this program")
    if found.st_mode & _OTHERS:
        return _refusal(
            f"others may read {path!r} or write to it, mode {stat.S_IMODE(found.st_mode):o}: chmod 600 it, and if they "
            "may have read it, revoke its tokens and authorize again"
        )
    return None


def _refusal(reason: str) -> StoreError:
    return StoreError(reason, transient=False)
