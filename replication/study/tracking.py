"""Weights & Biases as a mirror of the results. The netCDF files are the record; this shows it to people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import xarray as xr

Mode = Literal["offline", "online", "disabled"]

_VERDICTS = ("holds", "fails", "undecided")
ONLINE_TIMEOUT = 60.0  # seconds until an unreachable server is an error


class TrackingError(RuntimeError):
    """The Weights & Biases run could not be started."""


def check(mode: str, project: str, tags: Sequence[str]) -> None:
    """Raise TrackingError, one line, for a value or an environment variable that Weights & Biases would refuse.

    All variables that begin with WANDB_ are checked. Call it before computing anything.
    """
    if mode == "disabled":
        return
    import wandb

    values: dict[str, dict[str, Any]] = {
        "tracking.project": {"project": project},
        "tracking.tags": {"run_tags": list(tags)},
    }
    for key, setting in values.items():
        with _refused(f"{key}={next(iter(setting.values()))}"):
            wandb.Settings(**setting)
    for name, value in os.environ.items():
        if name.startswith("WANDB_"):
            with _refused(f"{name}={value} in the environment"):
                wandb.Settings().update_from_env_vars({name: value})


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # pydantic's or wandb's own
        details = error.errors()[0]["msg"] if hasattr(error, "errors") else str(error)
        raise TrackingError(f"{what}: {details}") from None


class Run:
    """The record of one invocation. With tracking disabled, the same calls do nothing."""

    def __init__(self, wandb_run: Any = None) -> None:
        self._run = wandb_run
        self._metrics: set[str] = set()

    def metrics(self, rows: Iterable[tuple[float, Mapping[str, float]]]) -> None:
        """Record values at times t = learning rate × steps: rows of (t, {name: value})."""
        if self._run is not None:
            for t, values in rows:
                for name in values.keys() - self._metrics:  # not "*", which would also plot the figures against t
                    self._run.define_metric(name, step_metric="t")
                    self._metrics.add(name)
                self._run.log({"t": float(t)} | {name: float(value) for name, value in values.items()})

    def cell(self, label: str, dataset: xr.Dataset, done: int, total: int, memory: float) -> None:
        """Record a finished cell: the number of finished cells, the memory so far in GiB, and its curves in training.

        `cost/<label>` and the like are the variables of the cell that depend on time, averaged over everything else,
        against `training`, the finished part of the training, from 0 to 1.
        """
        if self._run is not None:
            self._run.log({"cells_done": done, "cells": total, "memory_GiB": memory})
            for part, values in curves(dataset):
                named = {f"{name}/{label}": value for name, value in values.items()}
                for name in named.keys() - self._metrics:
                    self._run.define_metric(name, step_metric="training")
                    self._metrics.add(name)
                self._run.log({"training": part} | named)

    def figure(self, name: str, path: Path | str) -> None:
        """Record a PNG file as the image `figures/name`."""
        if self._run is not None:
            import wandb

            self._run.log({f"figures/{name}": wandb.Image(str(path))})

    def claims(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record claims, each with an `id`, a `verdict` and more, as a table, and their verdicts in the summary."""
        if self._run is not None:
            import wandb

            columns: list[str | int] = list(dict.fromkeys(name for row in rows for name in row))
            data = [[_cell(row.get(str(name))) for name in columns] for row in rows]
            self._run.log({"claims": wandb.Table(columns=columns, data=data, allow_mixed_types=True)})
            counts = Counter(row["verdict"] for row in rows)
            self.summary(
                {f"claims/{row['id']}": row["verdict"] for row in rows}
                | {f"verdicts/{verdict}": counts[verdict] for verdict in dict.fromkeys((*_VERDICTS, *counts))}
            )

    def summary(self, values: Mapping[str, Any]) -> None:
        """Record final values."""
        if self._run is not None:
            self._run.summary.update(dict(values))


def curves(dataset: xr.Dataset) -> Iterator[tuple[float, dict[str, float]]]:
    """Variables of a cell that depend on time, averaged over everything else: rows (part of training, {name: mean})."""
    for dimension in ("t", "time"):
        names = [name for name, values in dataset.items() if dimension in values.dims and values.dtype.kind == "f"]
        means = {str(name): dataset[name].mean(set(dataset[name].dims) - {dimension}).values for name in names}
        last = dataset.sizes.get(dimension, 0) - 1
        for i in range(last + 1 if means else 0):
            yield i / max(1, last), {name: float(values[i]) for name, values in means.items()}


@contextmanager
def run(
    *,
    mode: Mode,
    project: str,
    experiment: str,
    job_type: Literal["run", "figures"],
    config: Mapping[str, Any],
    directory: Path | str,
    entity: str | None = None,
    tags: Sequence[str] = (),
) -> Iterator[Run]:
    """One Weights & Biases run, which is always finished. It never prompts, and writes under `directory` only.

    experiment: the group of the run. An exception in the block marks the run as failed and is raised again. An offline
    record is under `directory`/wandb, for `wandb sync`. It names its tables by absolute path: sync it before moving it.
    Raises TrackingError, one line, if the run cannot start (`online` without a login or a network), ValueError for an
    unknown mode.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode={mode!r}: one of {', '.join(get_args(Mode))} is needed")
    if mode == "disabled":
        yield Run()
        return
    directory = Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    variables = _folders(directory) | {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    with _environment(variables):
        import wandb

        try:
            wandb_run = _start(
                mode,
                project=project,
                entity=entity,
                group=experiment,
                job_type=job_type,
                config=dict(config),
                tags=list(tags),
                dir=str(directory),
            )
            try:
                yield Run(wandb_run)
            except wandb.Error as error:
                raise TrackingError(f"Weights & Biases: {error}") from error
            except BaseException:
                with suppress(Exception):  # the first exception is the one to report
                    wandb_run.finish(exit_code=1)
                raise
            wandb_run.finish()
        finally:
            # The service process keeps the folders of its start: the next run needs a process of its own.
            wandb.teardown()


def _start(mode: Mode, **arguments: Any) -> Any:
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        symlink=False,
        # Do not record the host, its paths, its load and its packages: that is private, and slow. The provenance of the
        # results holds the part that matters.
        host="",
        disable_git=True,
        save_code=False,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=ONLINE_TIMEOUT,
        finish_timeout=ONLINE_TIMEOUT,  # the rest stays on disk, for `wandb sync`
    )
    try:
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise TrackingError("tracking.mode=online needs a login: run `wandb login`, or set tracking.mode=offline")
        return wandb.init(mode=mode, settings=settings, **arguments)
    except TrackingError:
        raise
    except Exception as error:  # for any error the caller needs one line
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(f"tracking.mode={mode}: Weights & Biases did not start: {reason}") from error


def _folders(directory: Path) -> dict[str, str]:
    """The variables that decide where wandb writes; its defaults include the home and the working directory."""
    return {
        "WANDB_DIR": str(directory),
        "WANDB_DATA_DIR": str(directory / "wandb" / "data"),
        "WANDB_CACHE_DIR": str(directory / "wandb" / "cache"),
        "WANDB_ARTIFACT_DIR": str(directory / "wandb" / "artifacts"),
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
