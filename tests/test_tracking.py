"""An offline run is read back with wandb's own reader: what is recorded, what is not, and that it always ends."""

import json
import logging
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from replication.study import tracking
from replication.study.tracking import TrackingError

CONFIG = {"widths": [500, 10000], "beta": 0.1, "dtype": None, "solver": {"name": "flow", "exact": True}}
CLAIMS: list[dict[str, Any]] = [
    {
        "id": "fig1.inflation",
        "statement": "the NTK inflates",
        "estimate": 0.3,
        "interval": (0.25, 0.35),
        "verdict": "holds",
    },
    {"id": "fig1.mean", "statement": "the means agree", "estimate": "n/a", "verdict": "undecided", "control": None},
    {"id": "fig1.variance", "statement": "less variance", "verdict": "holds", "estimate": math.nan},
]


def arguments(directory: Path, **changes: Any) -> dict[str, Any]:
    return {
        "mode": "offline",
        "project": "ntk",
        "experiment": "fig1",
        "job_type": "run",
        "config": CONFIG,
        "directory": directory,
        "tags": ["ci"],
    } | changes


def record_everything(run: tracking.Run, figure: Path) -> None:
    run.metrics((t, {"loss/n=500": math.exp(-t), "kernel": float(np.float32(t))}) for t in (0.0, 0.5, 200.0))
    run.metrics([(0.25, {"loss/n=10000": math.inf})])
    run.figure("fig1", figure)
    run.claims(CLAIMS)
    run.summary({"rank": 3, "cost": np.float64(1.5)})


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and nobody's wandb settings."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def out(home: Path, tmp_path: Path) -> Iterator[Path]:
    """Where the run may write; afterwards nothing was written anywhere else, and the environment is as it was."""
    figure = tmp_path / "figure.png"
    Image.new("RGB", (30, 20)).save(figure)
    before = environment()
    yield tmp_path / "out"
    assert environment() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "work", "out", figure.name}
    assert not list(home.iterdir())
    assert not list((tmp_path / "work").iterdir())


def inspect(directory: Path, *options: str) -> str:
    (record,) = directory.glob("wandb/offline-run-*/*.wandb")
    folders = {"WANDB_CONFIG_DIR": str(directory), "WANDB_CACHE_DIR": str(directory)}
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(record)]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | folders, cwd=directory
    ).stdout


def records(directory: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, inspect(directory).splitlines())
    return [line[kind] for line in lines if line["type"] == kind]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """What reaches the root logger. pytest's own caplog also listens to loggers that do not pass theirs on."""
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, handler])
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    return heard


def test_offline_record(out: Path, capfd: pytest.CaptureFixture[str], logged: list[logging.LogRecord]) -> None:
    with tracking.run(**arguments(out)) as run:
        record_everything(run, out.parent / "figure.png")
        print("from the experiment")
    assert capfd.readouterr() == ("from the experiment\n", "")
    assert not [record for record in logged if record.name.startswith("wandb")]

    summary = json.loads(inspect(out, "--summary"))
    assert summary["config"] == CONFIG
    assert summary["console"] == []
    assert summary["project"] == "ntk"
    assert summary["tags"] == ["ci"]
    assert (summary["state"], summary["exit_code"]) == ("finished", 0)
    final = summary["summary"]
    assert {name: final[name] for name in final if name.startswith("claims/")} == {
        "claims/fig1.inflation": "holds",
        "claims/fig1.mean": "undecided",
        "claims/fig1.variance": "holds",
    }
    assert {name: final[f"verdicts/{name}"] for name in ("holds", "fails", "undecided")} == {
        "holds": 2,
        "fails": 0,
        "undecided": 1,
    }
    assert (final["rank"], final["cost"]) == (3, 1.5)

    (head,) = records(out, "run")
    assert (head["run_group"], head["job_type"]) == ("fig1", "run")

    rows = [row["item"] for row in records(out, "history")]
    losses = [(row["t"], row["loss/n=500"], row["kernel"]) for row in rows if "loss/n=500" in row]
    assert losses == [(t, pytest.approx(math.exp(-t)), t) for t in (0.0, 0.5, 200.0)]
    steps = {metric["name"]: metric.get("step_metric") for metric in records(out, "metric")}
    assert {name: steps[name] for name in ("loss/n=500", "kernel", "loss/n=10000")} == dict.fromkeys(
        ("loss/n=500", "kernel", "loss/n=10000"), "t"
    )
    assert not [name for name in steps if name.startswith(("figures", "claims"))]

    (folder,) = out.glob("wandb/offline-run-*")
    image = final["figures/fig1"]
    assert (image["width"], image["height"]) == (30, 20)
    assert (folder / "files" / image["path"]).read_bytes() == (out.parent / "figure.png").read_bytes()

    table = json.loads((folder / "files" / final["claims"]["path"]).read_text())
    assert table["columns"] == ["id", "statement", "estimate", "interval", "verdict", "control"]
    assert table["data"][0] == ["fig1.inflation", "the NTK inflates", 0.3, "(0.25, 0.35)", "holds", None]
    assert [row[0] for row in table["data"]] == [claim["id"] for claim in CLAIMS]


def test_cells_are_recorded_as_they_finish(out: Path) -> None:
    """Their number, the memory, and what depends on time, averaged over all else; no variable without time."""
    data = {"cost": (("network", "t"), [[4.0, 2.0, 1.0], [2.0, 0.0, 1.0]]), "steps": ("network", [3.0, 5.0])}
    with tracking.run(**arguments(out)) as run:
        (record,) = out.glob("wandb/offline-run-*/*.wandb")  # there to be watched, before anything is computed
        run.cell("n64-seed0-1", xr.Dataset(data), 1, 3, 0.5)
        run.cell("limit", xr.Dataset({"theta": ("angle", [1.0])}), 2, 3, 0.75)
    rows = [row["item"] for row in records(out, "history")]
    progress = [(row["cells_done"], row["cells"], row["memory_GiB"]) for row in rows if "cells" in row]
    assert progress == [(1, 3, 0.5), (2, 3, 0.75)]
    curve = [(row["training"], row["cost/n64-seed0-1"]) for row in rows if "training" in row]
    assert curve == [(0, 3), (0.5, 1), (1, 1)]
    steps = {metric["name"]: metric.get("step_metric") for metric in records(out, "metric")}
    assert steps["cost/n64-seed0-1"] == "training"
    assert not [name for row in rows for name in row if name.startswith(("steps", "theta"))]
    assert record.exists()


def test_nothing_private_is_recorded(out: Path) -> None:
    with tracking.run(**arguments(out)) as run:
        run.summary({"rank": 3})
    (folder,) = out.glob("wandb/offline-run-*")
    assert not [
        path for path in (folder / "files").rglob("*") if path.is_file()
    ]  # no requirements, no metadata, no code
    record = inspect(out)
    private = {os.uname().nodename, str(Path(__file__).parents[1]), sys.executable, str(out), os.environ["HOME"]}
    # As words: the name of a machine may be two letters, which a random id may hold.
    assert not [text for text in private if re.search(rf"(?<!\w){re.escape(text)}(?!\w)", record)]


def test_a_second_run_in_the_same_process(out: Path) -> None:
    for name in ("a", "b"):
        with tracking.run(**arguments(out / name, experiment=name, job_type="figures")) as run:
            run.claims(CLAIMS)
        (head,) = records(out / name, "run")
        assert (head["run_group"], head["job_type"]) == (name, "figures")
        assert list((out / name / "wandb" / "data").rglob("*"))  # the table, staged where it belongs


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_ends_the_run_as_failed(
    out: Path, error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with tracking.run(**arguments(out)) as run:
            run.summary({"rank": 3})
            raise error("the loss is infinite")

    with pytest.raises(error, match="the loss is infinite"):
        fail()
    assert capfd.readouterr() == ("", "")
    summary = json.loads(inspect(out, "--summary"))
    assert summary["exit_code"] == 1
    assert summary["summary"]["rank"] == 3


def test_disabled_does_not_import_wandb(out: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_tracking import *; out = Path(sys.argv[2])\n"
        "with tracking.run(**arguments(out, mode='disabled')) as run: record_everything(run, Path('no such figure'))\n"
        "sys.exit('wandb' in sys.modules or out.exists())"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(out)], check=True)


def test_an_unknown_mode_is_refused(out: Path) -> None:
    with (
        pytest.raises(ValueError, match="mode='on': one of offline, online, disabled"),
        tracking.run(**arguments(out, mode="on")),
    ):
        pass


def test_online_without_a_login_is_an_error_not_a_prompt(out: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_tracking import *\n"
        "assert sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()\n"
        "try:\n"
        "    with tracking.run(**arguments(Path(sys.argv[2]), mode='online')): pass\n"
        "except TrackingError as error: print('caught:', error)\n"
    )
    ours, theirs = pty.openpty()  # a terminal, where wandb would ask
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(out)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        assert process.wait(timeout=120) == 0
        screen = os.read(ours, 10_000).decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert screen.startswith("caught: tracking.mode=online needs a login")
    assert screen.count("\n") == 1


@pytest.mark.slow
def test_online_without_a_server_is_an_error_not_a_hang(
    out: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "ONLINE_TIMEOUT", 2.0)
    with monkeypatch.context() as login:
        login.setenv("WANDB_API_KEY", "0" * 40)
        login.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        with (
            pytest.raises(TrackingError, match=r"tracking\.mode=online: .* did not start") as caught,
            tracking.run(**arguments(out, mode="online")),
        ):
            pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
