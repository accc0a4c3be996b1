"""What every script does as a process, wherever it is started: what ends it, what its streams take, its threads."""

import io
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(main: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """The exit code of ``main``; 128 + n if signal n ends it, after the line ``error: <interrupted>`` on stderr.

    SIGINT and SIGTERM end it even where this process was started with SIGINT ignored, as a script's background jobs
    are; SIGHUP does not where it is ignored, as by nohup. Where the reader of its output is gone, as in ``| head -1``,
    it ends without a word, with the exit code that SIGPIPE would give.
    """
    on_signal(_interrupt)
    _take_every_character()
    try:
        try:
            return main() or 0
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


def on_signal(handler: "Callable[[int, FrameType | None], None] | signal.Handlers") -> None:
    """Set what SIGINT, SIGTERM and SIGHUP do in this process; an ignored SIGHUP stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def set_threads(count: int) -> None:
    """The threads of torch, and of the BLAS of numpy and scipy."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # of libraries that are loaded later
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


def cores() -> int:
    """Those that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


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
