"""An experiment that is still a module of functions, as an ``Experiment``; goes with the last of them."""

from dataclasses import dataclass
from typing import Any

from ..engine import ENGINE
from ..study.experiment import Experiment
from ..study.settings import require


@dataclass(frozen=True)
class LegacyCell:
    experiment: str
    version: int
    cell: Any
    engine: int = ENGINE

    @property
    def label(self) -> str:
        return str(self.cell.label)

    @property
    def folder(self) -> str:
        return f"{self.experiment}/v{self.version}.{self.engine}"

    @property
    def work(self) -> float:
        return float(self._work)

    def __getattr__(self, name: str) -> Any:
        if name == "cell" or name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.cell, name)


class Legacy:
    def __init__(self, module: Any):
        self.module, self.name, self.version = module, module.NAME, module.VERSION
        self.config, self.claims, self.metrics = module.Config, module.CLAIMS, module.metrics

    claims_of = Experiment.claims_of

    def cells(self, config: Any) -> list[Any]:
        require(config.draw == 0, "draw", config.draw, f"{self.name} has one draw only")
        cells = [LegacyCell(self.name, self.version, cell) for cell in self.module.cells(config)]
        for cell in cells:
            object.__setattr__(cell, "_work", self.module.work(cell.cell))
        return cells

    def compute(self, cell: Any, device: str = "cpu", progress: Any = lambda done: None) -> Any:
        return self.module.compute(cell.cell, device, progress)

    def join(self, config: Any, results: Any) -> Any:
        cells = self.module.cells(config)
        return self.module.assemble(config, list(zip(cells, results, strict=True)))
