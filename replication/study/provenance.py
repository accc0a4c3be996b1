"""How each cell was computed, and whether it may be published."""

import functools
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from ..engine import ENGINE

PACKAGES = ("torch", "numpy", "scipy", "xarray", "netCDF4")
_OF_ONE_CELL = ("wall_time", "date")


def provenance(*, device: str, wall_time: float) -> dict[str, Any]:
    """The provenance of a cell: code, versions, machine, wall time in seconds, date; no host name, no path."""
    commit, dirty = git_state()
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "packages": _packages(),
        "platform": platform.platform(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": _device(device),
        "threads": torch.get_num_threads(),
        "wall_time": wall_time,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _device(device: str) -> str:
    """The device of the config; for a GPU with its model: "cuda, NVIDIA H200"."""
    gpu = torch.device(device).type == "cuda"
    return f"{device}, {torch.cuda.get_device_name(device)}" if gpu else device


def summary(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The provenance of all cells, (label, provenance), as one entry for each environment.

    An entry has the dates of its first and last cell (from, to) and the wall time of each cell (cells).
    """
    environments: dict[str, dict[str, Any]] = {}
    for label, of_cell in cells:
        environment = {name: value for name, value in of_cell.items() if name not in _OF_ONE_CELL}
        key = json.dumps(environment, sort_keys=True)
        entry = environments.setdefault(key, environment | {"from": "", "to": "", "cells": {}})
        entry["from"] = min(entry["from"] or of_cell["date"], of_cell["date"])
        entry["to"] = max(entry["to"], of_cell["date"])
        entry["cells"][label] = round(of_cell["wall_time"], 3)
    return list(environments.values())


def objections(dataset: xr.Dataset) -> list[str]:
    """The reasons why a dataset of ``gather`` must not be published, one line each; empty if it may be.

    Reasons are cells of a modified or unknown tree, cells of several package versions, and cells of a commit that is
    not in this history or does not contain this version of the experiment and of the engine.
    """
    attrs, lines = dataset.attrs, []
    entries = attrs["provenance"]
    if attrs["engine"] != ENGINE:
        lines.append(f"computed by engine {attrs['engine']}; this is engine {ENGINE}")
    packages = {json.dumps(entry["packages"], sort_keys=True) for entry in entries}
    if len(packages) > 1:
        lines.append(f"cells of {len(packages)} sets of package versions: {', '.join(sorted(packages))}")
    for entry in entries:
        some = f"{len(entry['cells'])} cells, such as {next(iter(entry['cells']))},"
        if entry["dirty"] is None:
            lines.append(f"{some} were computed outside a git repository")
        elif entry["dirty"]:
            lines.append(f"{some} were computed with uncommitted changes on {entry['commit'][:9]}")
        elif not contains(entry["commit"], attrs["experiment"], attrs["version"], attrs["engine"]):
            lines.append(
                f"{some} name commit {entry['commit'][:9]}, in which there is no {attrs['experiment']} of version "
                f"{attrs['version']} with engine {attrs['engine']}, or which is not part of this history"
            )
    return lines


@functools.cache
def git_state() -> tuple[str, bool | None]:
    """The commit of the running code, and whether the tree is modified; ("unknown", None) outside git."""
    here = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", here.name)  # fails if an installed copy lies in another repository
        commit, *dirty = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip().split("-")
    except (OSError, subprocess.SubprocessError):
        return "unknown", None
    return commit, bool(dirty)


def file_at(commit: str, path: str) -> str | None:
    """The text of a file in a commit, None if it is not there. The path is relative to the root of the repository."""
    try:
        _git("merge-base", "--is-ancestor", commit, "HEAD")
        return _git("show", f"{commit}:{path}")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(
        command, capture_output=True, check=True, text=True, timeout=10, env=environment, encoding="utf-8"
    ).stdout


@functools.cache
def contains(commit: str, experiment: str, version: int, engine: int) -> bool:
    """Whether the commit is in HEAD's history and contains this version of the experiment and of the engine."""
    try:
        _git("merge-base", "--is-ancestor", commit, "HEAD")
        code = _git("show", f"{commit}:replication/engine.py")
        try:
            own = _git("show", f"{commit}:replication/experiments/{experiment}.py")
        except subprocess.SubprocessError:
            own = _git("show", f"{commit}:replication/experiments/{experiment}/__init__.py")
    except (OSError, subprocess.SubprocessError):
        return False
    here = re.search(r"^ENGINE = (\d+)", code, re.MULTILINE)
    there = re.search(r"^ *version = (\d+)", own, re.MULTILINE)
    return (here and int(here[1])) == engine and (there and int(there[1])) == version


@functools.cache
def _packages() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}
