"""The worked example of ``docs/add-a-rule.md`` does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lifstream.golden.contract.flat import flat_network
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network, accuracy
from lifstream.golden.model.protocols import LearningRule
from lifstream.golden.study.datasets import load_dataset

PAGE = Path(__file__).parents[2] / "docs" / "add-a-rule.md"


def page_s_rule() -> LearningRule:
    """The rule that the page's code builds."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    rule: LearningRule = names["CountRule"]()
    return rule


def test_the_page_s_rule_learns_the_digits() -> None:
    rule = page_s_rule()
    dataset = load_dataset("digits")
    network = Network.initial(spec=flat_network(sizes=(64, 10)), seed=1)
    learned = updates = 0
    for _ in range(2):
        for image, label in zip(dataset.train.images, dataset.train.labels, strict=True):
            record = learn(network, image, int(label), rate_shift=11, rule=rule)
            learned += bool(record.teaching)
            updates += record.updates
    assert 0 < learned < 2 * len(dataset.train)
    assert updates > 0
    predictions = network.classify(dataset.test.images).prediction
    assert accuracy(predictions, dataset.test.labels) > 0.9
    assert np.abs(network.weights[0]).max() > network.spec.layers[0].formats.one // 8
