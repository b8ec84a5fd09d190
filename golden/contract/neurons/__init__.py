"""Neurons: the state each keeps, and what a step does with it. A kind per file."""

from lifstream.golden.contract.neurons.base import Neuron, Population
from lifstream.golden.contract.neurons.competing import CompetingLif
from lifstream.golden.contract.neurons.cuba_lif import Comparison, CubaLif, Decay
from lifstream.golden.contract.neurons.lif import Lif, Reset
from lifstream.golden.contract.neurons.per_neuron import PerNeuron

__all__ = ["Comparison", "CompetingLif", "CubaLif", "Decay", "Lif", "Neuron", "PerNeuron", "Population", "Reset"]
