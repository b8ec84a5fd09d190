"""The trained models that come with the package: what is said of them is measured again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.model_files import find_model, load_model, released_models
from lifstream.golden.study.presets import PRESETS
from lifstream.golden.study.training import evaluate
from tests.conftest import quick

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def documented() -> dict[str, tuple[float, str]]:
    """Test accuracy in percent and digest by model, from the table of the page."""
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([\d.]+) % \|.*\| `([0-9a-f]{16})` \|", PAGE.read_text(), re.MULTILINE)
    return {name: (float(accuracy), digest) for name, accuracy, digest in rows}


def test_every_released_model_is_documented() -> None:
    assert sorted(documented()) == released_models() == [
        "conv-digits", "conv-fashion", "conv-mnist", "conv-small", "digits", "fashion-256", "local-mnist", "mnist-128",
        "mnist-256"]


@pytest.mark.parametrize("name", quick(released_models(), "conv-digits", "digits", "fashion-256", "mnist-256"))
def test_released_model_is_what_the_page_says(name: str) -> None:
    model = load_model(find_model(name))
    accuracy, digest = documented()[name]
    assert model.network.digest() == digest
    assert model.network.spec == PRESETS[name].spec
    assert round(100 * model.training["test_accuracy"], 2) == accuracy
    assert f"--seed {model.training['seed']}" in PAGE.read_text()
    try:
        dataset = load_dataset(model.dataset)
    except InputError:
        pytest.skip(f"{model.dataset} is not here")
    measured, outcome = evaluate(model.network, dataset.test)
    assert measured == model.training["test_accuracy"]
    assert len(outcome.predictions) == len(dataset.test)
