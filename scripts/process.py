"""The behaviour of every script as a process: signals, exit codes, encodings of its streams, threads."""

import io
import logging
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import FrameType

if sys.platform == "win32":
    sys.exit("error: Windows is not supported; the Windows Subsystem for Linux is")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's library, whichever else is installed


class UserError(Exception):
    """A mistake of the user: one line, exit code 2."""


class RunError(Exception):
    """A run that failed: one line for each reason, exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(main: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """The exit code of ``main``, as in ``reported``; 128 + n, with the line ``error: <interrupted>``, after signal n.

    SIGINT and SIGTERM end it even if this process was started with SIGINT ignored, like the background jobs of a
    script. An ignored SIGHUP (nohup) does not. If the reader of the output is gone, as in ``| head -1``, it ends
    silently with the exit code of SIGPIPE.
    """
    on_signal(_interrupt)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it warns that it keeps no fonts
    warnings.showwarning = lambda message, *_: _warn(message)
    _take_every_character()
    try:
        try:
            return reported(main)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt as error:
        on_signal(signal.SIG_DFL)  # a second signal ends the process at once, without the cleaning up
        print(f"error: {interrupted}", file=sys.stderr)
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if stream and _reader_is_gone(stream.fileno())]
        if not closed:  # the broken pipe is not one of our streams
            raise
        for stream in closed:  # text left in its buffer would cause another error when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 128 + signal.SIGPIPE


def reported(main: Callable[[], int | None]) -> int:
    """The exit code of ``main``: 2 for a mistake of the user, 1 for a failure. The reason is printed in one line.

    With TRACEBACK=1 in the environment, unexpected errors are raised instead.
    """
    try:
        return main() or 0
    except BrokenPipeError:  # the reader is gone
        raise
    except UserError as error:
        message, code = str(error), 2
    except RunError as error:
        message, code = str(error), 1
    except (OSError, MemoryError) as error:
        message, code = reason(error), 1
    except Exception as error:
        if os.environ.get("TRACEBACK") == "1":
            raise
        message, code = f"{reason(error)} (TRACEBACK=1 shows where)", 1
    print(f"error: {message}", file=sys.stderr)
    return code


def reason(error: Exception) -> str:
    """The message of an exception in one line. For an error of the system it has the file and the cause."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return text or "out of memory"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else text
    own = type(error).__module__.split(".")[0] in ("process", "replication")
    return text if own else f"{type(error).__name__}: {text}".removesuffix(": ")


def on_signal(handler: "Callable[[int, FrameType | None], None] | signal.Handlers") -> None:
    """Set the handler of SIGINT, SIGTERM and SIGHUP in this process. An ignored SIGHUP stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """End this process, without a word, within a second or two of the end of the one that it works for."""

    def there() -> bool:
        try:
            os.kill(parent, 0)
        except OSError:
            return False
        return os.getppid() == parent or not child

    def watch() -> None:
        while there():
            time.sleep(1)
        os._exit(1)

    child = os.getppid() == parent  # one whose parent is gone gets another, even where the number is in use again
    threading.Thread(target=watch, daemon=True).start()


def pool(count: int) -> Executor:
    """Processes for tasks, or a thread if the system has no worker processes."""
    return ProcessPoolExecutor(count) if semaphores() else ThreadPoolExecutor(1)


def semaphores() -> bool:
    """Whether the system has the semaphores that worker processes need: /dev/shm must be writable."""
    try:
        multiprocessing.Lock()
    except OSError:
        return False
    return True


def set_threads(count: int) -> None:
    """Set the number of threads of torch and of the BLAS of numpy and scipy."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # for libraries that are loaded later
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def _warn(message: Warning | str) -> None:
    """Print a warning once, in one line, without its place in the source."""
    if str(message) not in _warned:
        _warned.add(str(message))
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


_warned: set[str] = set()


def _take_every_character() -> None:
    """Print characters that the encoding lacks as escapes (≥ as \\u2265), in this process and in its children."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"


def _reader_is_gone(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
