"""The scripts wherever they are started: ignored signals, poor encodings, closed pipes, no home, no git, few cores."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripts_fixtures import CELLS, ROOT, assert_same, copy_cells, finish, in_background, start, stored

PROGRAM = """\
import sys, time
sys.path.insert(0, {scripts!r})
import process

def main():
    {main}

if __name__ == "__main__":
    sys.exit(process.run(main, "stopped"))
"""


def begin(main: str, *before: str, **environment: str) -> subprocess.Popen[bytes]:
    """A script whose main is given, with nothing of this process's environment but the path."""
    code = PROGRAM.format(scripts=str(ROOT / "scripts"), main=main)
    return subprocess.Popen(
        [*before, sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Its exit code and what it said."""
    with process:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, out, err


def signalled(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, bytes, bytes]:
    """The same, with a signal sent as soon as it has said that it is ready."""
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    return end(process)


# Signals

WAIT = "print('ready', flush=True); time.sleep(30)"


@pytest.mark.parametrize("before", [[], in_background()], ids=["in the foreground", "in the background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_script_with_one_line(number: signal.Signals, before: list[str]) -> None:
    assert signalled(begin(WAIT, *before), number) == (128 + number, b"", b"error: stopped\n")


def test_a_hangup_does_not_end_a_script_under_nohup() -> None:
    main = "print('ready', flush=True); time.sleep(0.5); print('done')"
    assert signalled(begin(main, "nohup"), signal.SIGHUP) == (0, b"done\n", b"")


def test_no_worker_finishes_its_tasks_after_a_signal() -> None:
    main = "\n    ".join(
        (
            "import cells",
            "with cells.worker_processes(1) as pool:",
            "    tasks = [pool.submit(print, 'ready', flush=True), *(pool.submit(time.sleep, 600) for _ in range(4))]",
            "    tasks[1].result()",
        )
    )
    assert signalled(begin(main), signal.SIGTERM) == (128 + signal.SIGTERM, b"", b"error: stopped\n")


@pytest.mark.parametrize("generations", [1, 2])
def test_a_job_ends_with_the_process_that_began_it(generations: int) -> None:
    """However that ended; the job may be its child, or the child of a process in between that goes on."""
    job = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import process, time; "
    job += f"process.end_with(int(sys.argv[1])); {WAIT.replace('30', '60')}"
    between = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {job!r}, sys.argv[1]])"
    command = f"[sys.executable, '-c', {job if generations == 1 else between!r}, str(os.getpid())]"
    main = f"import os, subprocess; subprocess.Popen({command}); time.sleep(60)"
    process = begin(main)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    began = time.monotonic()
    assert end(process) == (-signal.SIGKILL, b"", b"")  # its streams are open as long as the job has them
    assert time.monotonic() - began < 30


# Streams


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "β² ≥ 1\n".encode()),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\u03b2\xb2 \\u2265 1\n"),
        ({"PYTHONIOENCODING": "ascii"}, b"\\u03b2\\xb2 \\u2265 1\n"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"\\u03b2\\xb2 \\u2265 1\n"),
    ],
    ids=["utf-8", "latin-1", "ascii", "the C locale"],
)
def test_what_a_stream_cannot_encode_is_printed_as_an_escape(encoding: dict[str, str], printed: bytes) -> None:
    show = r"print('\u03b2\xb2 \u2265 1')"
    assert end(begin(f"{show}; sys.stdout = sys.stderr; {show}", **encoding)) == (0, printed, printed)
    in_a_child = f"import subprocess; subprocess.run([sys.executable, '-c', {show!r}], check=True)"
    assert end(begin(in_a_child, **encoding)) == (0, printed, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_pipe_ends_a_script_without_a_word(name: str, lines: int, unbuffered: str) -> None:
    main = f"sys.{name}.write('ready\\n'); sys.{name}.flush(); time.sleep(0.2)\n"
    main += f"    for line in range({lines}): print(line, file=sys.{name})"
    with begin(main, PYTHONUNBUFFERED=unbuffered) as process:
        pipe, other = (process.stdout, process.stderr) if name == "stdout" else (process.stderr, process.stdout)
        assert pipe
        assert other
        assert pipe.readline() == b"ready\n"
        pipe.close()
        assert (other.read(), process.wait(timeout=120)) == (b"", 128 + signal.SIGPIPE)


def test_another_closed_pipe_is_an_error() -> None:
    code, _, err = end(begin("raise BrokenPipeError"))
    assert code == 1
    assert err.endswith(b"\nBrokenPipeError\n")


# The library


def test_a_checkout_uses_its_own_library_whichever_else_is_installed(tmp_path: Path) -> None:
    (tmp_path / "replication").mkdir()
    (tmp_path / "replication" / "__init__.py").write_text("raise AssertionError('another one')")
    main = "\n    ".join(
        (
            "import multiprocessing",
            "where = \"__import__('importlib.util').util.find_spec('replication').origin\"",
            "print(eval(where), flush=True)",
            "with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.apply(eval, (where,)))",
        )
    )
    own = f"{ROOT / 'replication' / '__init__.py'}\n".encode()
    assert end(begin(main, PYTHONPATH=str(tmp_path))) == (0, 2 * own, b"")


# Errors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("process.UserError('widths=[0]: must be ≥ 1')", 2, "widths=[0]: must be ≥ 1"),
        ("process.RunError('one\\ntwo')", 1, "one\ntwo"),
        ("OSError(28, 'No space left on device', 'figures/a.png')", 1, "figures/a.png: No space left on device"),
        ("MemoryError()", 1, "out of memory"),
        ("ValueError('of\\nlines')", 1, "ValueError: of lines (TRACEBACK=1 shows where)"),
        ("AssertionError()", 1, "AssertionError (TRACEBACK=1 shows where)"),
    ],
)
def test_an_error_is_a_line(error: str, code: int, line: str) -> None:
    assert end(begin(f"raise {error}", PYTHONUTF8="1")) == (code, b"", f"error: {line}\n".encode())


def test_a_warning_is_a_line_once() -> None:
    main = "import warnings\n    for i in range(3): warnings.warn('mean of\\nempty slice', RuntimeWarning, i + 1)"
    assert end(begin(main)) == (0, b"", b"warning: mean of empty slice\n")


def test_the_place_of_an_error_that_nobody_foresaw_is_shown_on_demand() -> None:
    code, _, err = end(begin("raise ValueError", TRACEBACK="1"))
    assert (code, err.splitlines()[0]) == (1, b"Traceback (most recent call last):")


def test_no_streams() -> None:
    assert end(begin("print(1)", "sh", "-c", '"$@" >&- 2>&-', "sh")) == (0, b"", b"")


# Threads


def test_a_worker_has_one_thread_of_every_library() -> None:
    """Those loaded before it is started, and those loaded later."""
    main = "\n    ".join(
        (
            "import cells, numpy, torch",
            "with cells.worker_processes(1) as pool: print(pool.submit(threads).result())",
            "\ndef threads():",
            "import scipy.linalg, threadpoolctl",
            "return sorted((i['internal_api'], i['num_threads']) for i in threadpoolctl.threadpool_info())",
        )
    )
    code, out, err = end(begin(main))
    assert (code, err) == (0, b"")
    assert out == b"[('openblas', 1), ('openblas', 1), ('openmp', 1)]\n"


# Help


def test_help_is_quick_and_says_how_to_choose() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "scripts" / "run.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for part in ("+exp=fig1", "+exp=ci/fig1", "+exp=literal/fig1", "conf/exp", "'widths=[100,1000]'"):
        assert part in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "numpy", "scipy", "xarray", "matplotlib", "wandb", "replication"}


# A whole run


def test_a_run_in_a_poor_place(tiny: Path, tmp_path: Path) -> None:
    """In the background of a script, with an ASCII terminal, without a home or git."""
    (tmp_path / "bin").mkdir()
    poor = {
        "HOME": "/dev/null/home",  # nobody can make it, not even root
        "PATH": str(tmp_path / "bin"),
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    results = tmp_path / "results"
    copy_cells(tiny, results, "main")
    options = [*CELLS, "tracking=offline", f"results={results}"]
    done = finish(start(*options, place=tmp_path / "place", before=in_background(), **poor))
    assert (done.returncode, done.stderr) == (0, "")
    assert r"sup|mean \u2212 limit|" in done.stdout
    (folder,) = (results / "runs").iterdir()
    assert "mean − limit" in (folder / "CLAIMS.md").read_text(encoding="utf-8")
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert_same(stored(results), stored(tiny))


def test_a_run_whose_reader_is_gone(tiny: Path, tmp_path: Path) -> None:
    place, results = tmp_path / "place", tmp_path / "results"
    copy_cells(tiny, results, "limit")
    with start(*CELLS, f"results={results}", place=place, PYTHONUNBUFFERED="1") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=120)) == ("", 128 + signal.SIGPIPE)
    assert len(list(results.glob("runs/*/CLAIMS.md"))) == 1
