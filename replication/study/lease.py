"""A lease on a file that is being made: of several processes, on any machines that share its folder, one makes it."""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RENEWED_EVERY = 20.0  # seconds
EXPIRES_AFTER = 180.0  # seconds without renewal, by the folder's clock or by ours: its process, or its machine, is gone


@contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Whether this process is to make the file now: False while another is at it.

    A lease is a file beside it, made with O_EXCL, which network file systems keep to, and renewed meanwhile. One that
    has expired, or whose process is gone from this machine, is nobody's. That two processes get the same one, as when
    both find it expired, costs their time alone: whatever they make must be put in place whole.
    """
    file = path.with_name(f".{path.name}.lease.tmp")
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEWED_EVERY):
            with suppress(OSError):
                os.utime(file)

    renewal = threading.Thread(target=renew, daemon=True)
    ours = False
    try:  # from before the lease is taken, so that an interruption at any later moment gives it back
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
    """Whether the lease is ours; it is where there can be none, as on a full disk."""
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
    if node != platform.node() or not process.isdecimal():  # of another machine, or not written yet
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        pass
    return False
