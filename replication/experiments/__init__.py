"""One module for each experiment, with its instance ``EXPERIMENT``: see ``replication.study.experiment``."""

import importlib
import pkgutil
from typing import Any

from ..study.experiment import Experiment
from ..study.settings import require


def available() -> list[str]:
    """The names of all experiments."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Experiment[Any, Any]:
    """The experiment of this name. Raises ConfigError, with a list of the experiments, for an unknown name."""
    require(name in available(), "experiment", name, f"must be one of {', '.join(available())}")
    experiment: Experiment[Any, Any] = importlib.import_module(f"{__name__}.{name}").EXPERIMENT
    return experiment
