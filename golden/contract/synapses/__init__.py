"""Synapses: which presynaptic neuron reaches which postsynaptic ones through which weight. A kind per file."""

from lifstream.golden.contract.synapses.augmented import Augmented
from lifstream.golden.contract.synapses.base import Map, Synapses, Target
from lifstream.golden.contract.synapses.dense import Dense
from lifstream.golden.contract.synapses.maps import Conv, Local, SumPool

__all__ = ["Augmented", "Conv", "Dense", "Local", "Map", "SumPool", "Synapses", "Target"]
