"""From a command line to a typed config, for all scripts. Imports no torch by itself."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from process import RunError, UserError

if TYPE_CHECKING:
    from replication.study.experiment import Experiment
    from replication.study.settings import BaseConfig

CONF = Path(__file__).parents[1] / "conf"

_NOT_OURS = ("hydra.output_subdir", "hydra.run.", "hydra.job.chdir", "hydra/job_logging", "hydra.job_logging")


def options(group: str) -> list[str]:
    """The names of a config group that the command line accepts."""
    folder = CONF / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def presets() -> list[str]:
    """The presets that +exp=<name> accepts."""
    return options("exp")


def named(config: DictConfig, name: str) -> DictConfig:
    """The composed config of a preset, with ``preset`` and ``experiment`` taken from the name of its file.

    A preset of another experiment has the key ``experiment``. Raises UserError if the key ``preset`` was given.
    """
    if "preset" in config:
        raise UserError(f"preset={config.preset}: no such key; a preset is chosen with +exp=<name>")
    plain = {"experiment": name.rpartition("/")[2]} | OmegaConf.to_container(config) | {"preset": name}  # type: ignore[operator]
    return OmegaConf.create(plain, flags={"struct": True})


def typed(config: DictConfig) -> "tuple[Experiment[Any, Any], BaseConfig]":
    """The experiment and its typed config. Raises UserError for an unknown key or a value outside its domain."""
    # Hydra's "+key=value" adds any key, and plain YAML checks no types. The dataclass rejects unknown keys and values.
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {one_line(error)}") from None
    from replication.experiments import load
    from replication.study.settings import ConfigError, require_bounded

    try:
        require_bounded(plain)
        experiment = load(plain["experiment"])
        typed: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(experiment.config), plain))
        experiment.claims_of(typed.claims)
        experiment.claims_of(typed.undecided)
        return experiment, typed
    except Exception as error:
        # OmegaConf has many classes of errors, and may wrap the errors of the config's own checks.
        causes = [error, error.__cause__, error.__context__]
        own = next((cause for cause in causes if isinstance(cause, ConfigError)), None)
        key = str(getattr(error, "full_key", None) or "")
        if own or not key:
            raise UserError(str(own or one_line(error))) from None
        # For an error inside a list, OmegaConf may give the index only.
        key, value = _culprit(experiment.config, plain) if key.isdigit() else (key, OmegaConf.select(config, key))
        if isinstance(error, ConfigKeyError):
            parent, _, last = key.rpartition(".")
            known = [str(name) for name in (OmegaConf.select(config, parent) if parent else config) if name != last]
            raise UserError(f"{key}={value}: no such key; {parent or 'it'} has {', '.join(known)}") from None
        raise UserError(f"{key}={value}: {one_line(error)}") from None


def _culprit(schema: type, plain: dict[str, Any]) -> tuple[str, Any]:
    """The first key of a config whose value does not fit the schema, and the value."""
    for name, value in plain.items():
        try:
            OmegaConf.merge(OmegaConf.structured(schema), {name: value})
        except Exception:
            return name, value
    raise AssertionError("each value alone is taken")


def preset(name: str, *overrides: str) -> DictConfig:
    """The composed config of a preset. Raises UserError, with a list of the presets, for an unknown one."""
    if name not in presets():
        raise UserError(f"{name}: choose one of {', '.join(presets())}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return named(compose("config", [f"+exp={name}", *overrides]), name)


def checked(words: list[str]) -> list[str]:
    """The words of a command line with ~ expanded.

    Raises UserError for keys of Hydra that a run does not accept, and for Slurm on a machine without it.
    """
    for word in words:
        if word.lstrip("+~").startswith(_NOT_OURS):
            raise UserError(f"{word}: no such key; a run writes under its results folder only")
        if word.endswith("hydra/launcher=submitit_slurm") and not shutil.which("srun"):
            raise UserError(f"{word}: there is no Slurm here (no srun on the PATH); joblib needs none")
    return [
        re.sub(r"^([\w.+]+=)(~(?=/|$))", lambda match: match[1] + os.path.expanduser(match[2]), word) for word in words
    ]


def composing(error: Exception) -> Exception:
    """A UserError, one line with the override, for an exception of Hydra. Other exceptions are returned unchanged."""
    if isinstance(error, RunError | UserError):  # of a job of a sweep, in another process
        return error
    if isinstance(error, BrokenPipeError | MemoryError):
        return error
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    parser = OverridesParser.create()
    for word in words:
        try:
            parser.parse_override(word)
        except HydraException:
            key, _, value = word.partition("=")
            quoted = '["a=b"]' if set(value) & set("[]{},\"'") else f'"{value}"'
            return UserError(f"{word}: Hydra cannot read this; put text in quotes, as in '{key}={quoted}'")
    line = one_line(error)
    if isinstance(error, HydraException | OmegaConfBaseException) and any(word in line for word in words):
        return UserError(line)
    GlobalHydra.instance().clear()
    for i, word in enumerate(words):
        try:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                compose("config", words[: i + 1])
        except Exception as again:
            line = one_line(again)
            if line.startswith("Config group override"):  # of null or a number
                known = options(word.lstrip("+~").partition("=")[0] or "none")
                line = f"must be one of {', '.join(known)}" if known else "no such key"
            return UserError(line if line.startswith(word) else f"{word}: {line}")
    return UserError(line)


def one_line(error: Exception) -> str:
    """The first line of an error of Hydra or OmegaConf. For a misspelt name it lists the right ones."""
    if not isinstance(error, HydraException | OmegaConfBaseException):  # such as a YAML file's, over several lines
        raised = re.findall(r"^(?:\w+\.)*(\w+: .*)$", str(error), re.MULTILINE) if "Traceback" in str(error) else []
        return re.sub("^(UserError|RunError): ", "", raised[-1]) if raised else " ".join(str(error).split())
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    name = first.split("'")[-2].split("/")[0] if first.count("'") >= 2 else ""
    override = next((word for word in sys.argv[1:] if word.lstrip("+~").partition("=")[0] == name), name)
    if name == "exp":
        return f"{override}: choose an experiment with +exp=<name>: {', '.join(presets())}"
    if first.startswith("In '") and options(name):
        return f"{override}: must be one of {', '.join(options(name))}"
    if isinstance(error, MissingConfigException) and error.options:
        return f"{override}: must be one of {', '.join(error.options)}, or its plugin is not installed"
    if first.startswith("Error merging override "):
        return f"{first.removeprefix('Error merging override ')}: the value in the preset has another type"
    if first.startswith("Could not override"):
        return f"{override}: no such key; the keys are those of the preset in conf/exp, and of conf/config.yaml"
    return first
