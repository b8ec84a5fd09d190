"""The network's bench in a tree where ``docs/add-a-rule.md`` has been followed: its rule is the contract's."""

from __future__ import annotations

from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.model.registry import MODELS
from tests.golden.test_add_a_rule import page_s_rule

MODELS[DesireBackpropagation] = page_s_rule()

# With the rule in place.
from lifstream.sim.tb_network import network  # noqa: E402

__all__ = ["network"]
