"""Synapses: which presynaptic neuron reaches which postsynaptic ones through which weight. A kind per file."""

from lifstream.golden.contract.synapses.base import Synapses
from lifstream.golden.contract.synapses.dense import Dense

__all__ = ["Dense", "Synapses"]
