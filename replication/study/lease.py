"""A lease on a file to be made: among processes on all machines that share the folder, only one makes it."""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RENEWED_EVERY = 20.0  # seconds
EXPIRES_AFTER = 180.0  # seconds without renewal, by the folder's clock or ours: the process or machine is gone


@contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Take the lease of a file: True if this process should make the file now, False if another process is making it.

    A lease is a file beside the other one, created with O_EXCL, which network file systems respect, and renewed in the
    meantime. A lease is free if it has expired, or if its process on this machine has ended. Rarely two processes get
    the same lease, for instance when both find it expired. That costs time only, because files are put in place whole.
    """
    file = path.with_name(f".{path.name}.lease.tmp")
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEWED_EVERY):
            with suppress(OSError):
                os.utime(file)

    renewal = threading.Thread(target=renew, daemon=True)
    ours = False
    try:  # starts before the lease is taken, so that any later interruption gives it back
        ours = _taken(file)
        if ours:
            renewal.start()
        yield ours
    finally:
        done.set()
        if ours:
            if renewal.is_alive():
                renewal.join()
            with suppress(OSError):
                file.unlink()


def _taken(file: Path) -> bool:
    """Whether the lease is ours. It counts as ours if no lease can be written, as on a full disk."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if _abandoned(file):
            file.unlink(missing_ok=True)
        with file.open("x", encoding="utf-8") as content:
            content.write(f"{os.getpid()} {platform.node()}")
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _abandoned(file: Path) -> bool:
    try:
        age = time.time() - file.stat().st_mtime
        process, _, node = file.read_text(encoding="utf-8").partition(" ")
    except FileNotFoundError:
        return False
    if abs(age) > EXPIRES_AFTER:
        return True
    if node != platform.node() or not process.isdecimal():  # from another machine, or not written yet
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # the process belongs to another user
        pass
    return False
