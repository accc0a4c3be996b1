"""What is recorded beside a cell, and whether data may be published: what ``objections`` finds in it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from replication.engine import ENGINE
from replication.study import provenance
from replication.study.provenance import objections


def test_a_record_is_plain_and_names_the_packages() -> None:
    record = provenance.provenance(device="cpu", wall_time=1.5)
    assert json.loads(json.dumps(record)) == record
    assert record["wall_time"] == 1.5
    assert record["packages"]["xarray"] == xr.__version__
    assert record["packages"].keys() >= {"torch", "numpy", "netCDF4"}


def test_the_state_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state.__wrapped__() == ("unknown", None)


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_the_state_in_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    module = tmp_path / "results.py"
    module.write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(module))
    git("init")
    git("commit", "--allow-empty", "-m", "of a repository that only surrounds an installed package")
    assert provenance.git_state.__wrapped__() == ("unknown", None)
    git("add", ".")
    git("commit", "-m", "ours")
    git("tag", "v1.0-rc1")
    commit = git("rev-parse", "HEAD")
    assert provenance.git_state.__wrapped__() == (commit, False)
    module.write_text("2")
    assert provenance.git_state.__wrapped__() == (commit, True)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A repository whose first commit has no experiment, whose second has version 1, whose third version 2."""
    code = {"replication/engine.py": f"ENGINE = {ENGINE}\n", "replication/study/provenance.py": ""}
    commits = {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        git("init")
    except FileNotFoundError:
        pytest.skip("there is no git here")
    for name, extra in (
        ("none", {}),
        ("one", {"replication/experiments/sums.py": "class Sums:\n    version = 1\n"}),
        ("two", {"replication/experiments/sums.py": "class Sums:\n    version = 2\n"}),
        ("engine", {"replication/engine.py": "ENGINE = 1\n"}),
        ("folder", code | {"replication/experiments/sums/__init__.py": "    version = 3\n"}),
    ):
        if name == "folder":
            (tmp_path / "replication/experiments/sums.py").unlink()
        for path, text in (code | extra).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        git("add", "--all")
        git("commit", "-m", name)
        commits[name] = git("rev-parse", "HEAD")
    git("checkout", "--orphan", "other")
    git("commit", "-m", "of another history")
    commits["other"] = git("rev-parse", "HEAD")
    git("checkout", commits["folder"])
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "replication/study/provenance.py"))
    provenance.contains.cache_clear()
    return commits


def data(*entries: dict[str, Any], version: int = 1, engine: int = ENGINE) -> xr.Dataset:
    base = {"dirty": False, "packages": {"torch": "2.13"}, "cells": {"main-n500-seed0": 1.0}}
    attrs = {"experiment": "sums", "version": version, "engine": engine}
    return xr.Dataset(attrs=attrs | {"provenance": [base | entry for entry in entries]})


def test_clean_cells_of_commits_with_the_experiment_may_be_published(history: dict[str, str]) -> None:
    assert objections(data({"commit": history["one"]})) == []
    assert objections(data({"commit": history["two"]}, version=2)) == []
    assert objections(data({"commit": history["folder"]}, version=3)) == []


@pytest.mark.parametrize(
    ("commit", "version", "entry", "reason"),
    [
        ("none", 1, {}, "there is no sums of version 1"),
        ("two", 1, {}, "there is no sums of version 1"),
        ("engine", 2, {}, f"with engine {ENGINE}"),
        ("other", 3, {}, "not part of this history"),
        ("one", 1, {"dirty": True}, "uncommitted changes"),
        ("one", 1, {"dirty": None}, "outside a git repository"),
    ],
)
def test_what_must_not_be_published(
    history: dict[str, str], commit: str, version: int, entry: dict[str, Any], reason: str
) -> None:
    (line,) = objections(data({"commit": history[commit]} | entry, version=version))
    assert reason in line
    assert "main-n500-seed0" in line


def test_cells_of_two_sets_of_packages_or_another_engine_are_refused(history: dict[str, str]) -> None:
    one = {"commit": history["one"]}
    (line,) = objections(data(one, one | {"packages": {"torch": "2.14"}}))
    assert "2 sets of package versions" in line
    lines = objections(data(one, engine=ENGINE + 1))
    assert any(f"this is engine {ENGINE}" in line for line in lines)


def test_an_unknown_commit_is_refused(history: dict[str, str]) -> None:
    (line,) = objections(data({"commit": "f" * 40}))
    assert "not part of this history" in line
