"""Whatever value a key of a preset is given, it is taken or refused in one line, soon, and nothing is left behind."""

import random
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from scripts_fixtures import call, files, script

VALUES = (
    *("null", "-1", "0", "1", "2", "1.5", "1e-300", "1e-9", "nan", "inf", "-inf", "1e300", str(2**63), "1000000"),
    *("true", "", "x", "é", "~/x", "a=b", "'", "[]", "[0]", "[1]", "[1,1]", "[1,a,null]", "[[1]]", "[[2,2,2],[3,4,5]]"),
    *("{}", "{a: 1}", "{widths: [1], seeds: 1}", "[1000000]", "${nope}", "???", "x" * 300),
)
PREFIXES = ("", "", "", "", "", "+", "++", "~")


def keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of a config, those below in dots."""
    own = []
    for name in map(str, config):
        own.append(prefix + name)
        value = OmegaConf.select(config, name, throw_on_missing=False)
        if isinstance(value, DictConfig):
            own += keys(value, f"{prefix}{name}.")
    return own


def check(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line drawn by a seed: a preset of reduced size with one or two of its keys changed."""
    stream = random.Random(seed)
    from process import RunError

    compose, module = script("compose"), script("run")
    name = stream.choice([name for name in compose.presets() if name.startswith("ci/")])
    known = [key for key in keys(compose.preset(name)) if key not in ("preset", "experiment", "results")]
    chosen = stream.sample(known, stream.choice((1, 1, 2)))
    overrides = [f"{stream.choice(PREFIXES)}{key}={stream.choice(VALUES)}" for key in chosen]
    taken: list[int] = []

    missing_cells = module.missing_cells

    def plan(*arguments: Any) -> None:
        taken.append(len(missing_cells(*arguments)))
        raise RunError("planned")

    monkeypatch.setattr(module, "missing_cells", plan)
    start = time.process_time()
    done = call(f"+exp={name}", *overrides, f"results={folder}", module=module)
    said = f"seed {seed}: +exp={name} {' '.join(overrides)}: {done.stderr}"
    assert done.stderr.startswith("error: "), said
    assert done.stderr.count("\n") == 1, said
    assert "TRACEBACK=1" not in done.stderr, said
    assert (done.returncode == 2) != (done.stderr == "error: planned\n"), said
    assert bool(taken) == (done.returncode == 1), said
    assert files(folder) == {}, said
    assert time.process_time() - start < 60, said  # of the CPU, however busy the machine is


@pytest.mark.parametrize("block", range(4))
def test_a_hundred_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        check(seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4, 40))
def test_a_thousand_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        check(seed, tmp_path, monkeypatch)
