"""What every script does as a process, wherever it is started: what ends it, what its streams take, its threads."""

import io
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
    """A mistake in what was asked for: one line, exit code 2."""


class RunError(Exception):
    """A run that could not be completed: a line for each reason, exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(main: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """The exit code of ``main``, as ``reported``; 128 + n if signal n ends it, with the line ``error: <interrupted>``.

    SIGINT and SIGTERM end it even where this process was started with SIGINT ignored, as a script's background jobs
    are; SIGHUP does not where it is ignored, as by nohup. Where the reader of its output is gone, as in ``| head -1``,
    it ends without a word, with the exit code that SIGPIPE would give.
    """
    on_signal(_interrupt)
    warnings.showwarning = lambda message, *_: _warn(message)
    _take_every_character()
    try:
        try:
            return reported(main)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt as error:
        on_signal(signal.SIG_DFL)  # a second signal need not wait for what is still to be cleaned up
        print(f"error: {interrupted}", file=sys.stderr)
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if stream and _reader_is_gone(stream.fileno())]
        if not closed:  # the pipe is not one of ours
            raise
        for stream in closed:  # what is left in its buffer would be an error once more, when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 128 + signal.SIGPIPE


def reported(main: Callable[[], int | None]) -> int:
    """The exit code of ``main``: 2 for what the user got wrong, 1 for what failed, in a line that says what.

    With TRACEBACK=1 in the environment, an error that nobody foresaw is raised on.
    """
    try:
        return main() or 0
    except BrokenPipeError:  # nobody reads
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
    """What an exception says, in one line: of the system, the file and why; an error of our own has said all."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return text or "out of memory"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else text
    own = type(error).__module__.split(".")[0] in ("process", "replication")
    return text if own else f"{type(error).__name__}: {text}".removesuffix(": ")


def on_signal(handler: "Callable[[int, FrameType | None], None] | signal.Handlers") -> None:
    """Set what SIGINT, SIGTERM and SIGHUP do in this process; an ignored SIGHUP stays ignored."""
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
    """Processes for tasks, or a thread where there can be none."""
    return ProcessPoolExecutor(count) if semaphores() else ThreadPoolExecutor(1)


def semaphores() -> bool:
    """Whether the system has what worker processes need, which takes a /dev/shm that can be written to."""
    try:
        multiprocessing.Lock()
    except OSError:
        return False
    return True


def set_threads(count: int) -> None:
    """The threads of torch, and of the BLAS of numpy and scipy."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # of libraries that are loaded later
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def _warn(message: Warning | str) -> None:
    """A warning as a line, without the place in the source, and each once."""
    if str(message) not in _warned:
        _warned.add(str(message))
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


_warned: set[str] = set()


def _take_every_character() -> None:
    """Print what the encoding of this process, or of one that it starts, lacks as an escape: ≥ as \\u2265."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"


def _reader_is_gone(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
