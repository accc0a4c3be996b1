"""Every preset composes to a full typed config; nothing is set in code only."""

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf
from scripts_fixtures import ROOT, script

from replication.experiments import available, load
from replication.study.settings import BaseConfig

compose = script("compose")
EXP = ROOT / "conf" / "exp"
PRESETS = sorted(path.relative_to(EXP).with_suffix("").as_posix() for path in EXP.rglob("*.yaml"))
REDUCED = [name for name in PRESETS if "/" in name]


def file(name: str) -> Path:
    return EXP / f"{name}.yaml"


def raw(name: str) -> Any:
    """The preset's own file, uncomposed."""
    return OmegaConf.to_container(OmegaConf.load(file(name)))


def keys_of(cls: type) -> dict[str, Any]:
    """The keys of a config class, with those of the config classes inside; None where there is none inside."""
    hints = get_type_hints(cls)
    inside = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return {name: keys_of(hint) if dataclasses.is_dataclass(hint) else None for name, hint in inside.items()}


def keys_in(plain: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The keys of a composed config, as deep as ``like`` goes."""
    return {name: keys_in(value, like[name]) if like.get(name) else None for name, value in plain.items()}


def test_every_experiment_has_a_full_and_a_reduced_preset() -> None:
    assert compose.presets() == PRESETS
    assert {"fig1", "ci/fig1", "literal/fig1"} <= set(PRESETS)
    for experiment in available():
        assert {experiment, f"ci/{experiment}"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_opens_with_its_command_and_leaves_its_name_to_its_file(name: str) -> None:
    first, second, third, *_ = file(name).read_text(encoding="utf-8").splitlines()
    assert first == "# @package _global_"
    assert second == f"# python scripts/run.py +exp={name}"
    assert third.startswith("# ")
    assert "preset" not in raw(name)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_composes_and_lists_every_key(name: str) -> None:
    composed = compose.preset(name)
    experiment, config = compose.typed(composed)
    assert config.preset == name
    assert config.experiment == experiment.name
    assert experiment.cells(config)
    expected = keys_of(experiment.config)
    assert keys_in(OmegaConf.to_container(composed, resolve=True), expected) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("experiment", available())
def test_no_setting_has_a_default_in_code(experiment: str) -> None:
    classes = [load(experiment).config]
    while classes:
        cls = classes.pop()
        hints = get_type_hints(cls)
        classes += [hint for name in keys_of(cls) if dataclasses.is_dataclass(hint := hints[name])]
        if cls is get_type_hints(BaseConfig)["tracking"]:
            continue  # the same for all experiments, and no setting of any
        for field in dataclasses.fields(cls):
            assert field.default is field.default_factory is dataclasses.MISSING, f"{cls.__name__}.{field.name}"


@pytest.mark.parametrize("name", REDUCED)
def test_reduced_and_literal_presets_inherit(name: str) -> None:
    base = name.rpartition("/")[2]
    changes = raw(name)
    assert changes.pop("defaults") == [f"/exp/{base}", "_self_"]
    experiment, full = compose.typed(compose.preset(base))
    _, config = compose.typed(compose.preset(name))
    # What the file does not name is as in the full preset, and what it names has its effect.
    for key in keys_of(experiment.config).keys() - {"preset"}:
        if key not in changes:
            assert getattr(config, key) == getattr(full, key)
        elif not isinstance(changes[key], dict):
            assert getattr(config, key) == changes[key]


def test_an_unknown_preset_is_refused_with_what_exists() -> None:
    with pytest.raises(compose.UserError, match=r"nope: choose one of .*ci/fig1.* fig1.* literal/fig1"):
        compose.preset("nope")
