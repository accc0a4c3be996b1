"""The jobs of a sweep, in processes of their own: their part of the cores, and their end with that of the sweep."""

import os
import signal
import time
from pathlib import Path

import pytest
from scripts_fixtures import TINY, finish, start

from replication.study.machine import cores

pytestmark = pytest.mark.slow

# Minutes of work for each of two jobs.
LONG = ("-m", *TINY, "widths=[16,32],[16,64]", "initial={widths: [16], seeds: 60000}", "quiet=true")
LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
}


def jobs(sweep: int) -> list[int]:
    """The processes that belong to a sweep, by what it tells them; without itself."""
    members = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if b"REPLICATION_SWEEP=%d" % sweep in variables:
            members.append(int(environment.parent.name))
    return [member for member in members if member != sweep]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found as on Linux")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_job_goes_on_after_its_sweep(tmp_path: Path, launcher: str, number: signal.Signals) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    results = tmp_path / "results"
    sweep = start(*LONG, *LAUNCHERS[launcher], f"results={results}", place=tmp_path / "place")
    while sweep.poll() is None and len(list(results.rglob("*.nc"))) < 2:
        time.sleep(0.05)
    assert jobs(sweep.pid)
    sweep.send_signal(number)
    done = finish(sweep)
    assert done.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in done.stderr
    if number == signal.SIGTERM:
        assert done.stderr.splitlines()[-1].startswith("error: interrupted; ")
    deadline = time.monotonic() + 30
    while jobs(sweep.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_jobs_side_by_side_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    for name in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
        monkeypatch.delenv(name)
    count = cores()
    parts = joblib.Parallel(n_jobs=count, backend="loky")(joblib.delayed(cores)() for _ in range(count))
    assert parts == [1] * count
