"""The registry of the model: what computes for each kind that a contract can declare.

The key is the declaration's class, so nothing else in the model asks which kind of synapses, neuron, rule or readout a
network has. A new kind is a file in each room and a line here.
"""

from __future__ import annotations

from typing import Any

from lifstream.golden.contract.declaration import Declaration
from lifstream.golden.contract.neurons import CompetingLif, CubaLif, Lif, Neuron
from lifstream.golden.contract.readout import Potentials, Readout, SpikeCounts, Votes
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed, PairStdp, Rule
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Local, SumPool, Synapses
from lifstream.golden.model.neurons.competing import CompetingNeurons
from lifstream.golden.model.neurons.cuba_lif import CUBA_LIF
from lifstream.golden.model.neurons.lif import LIF
from lifstream.golden.model.protocols import LearningRule, NeuronModel, ReadoutModel, SynapsesModel
from lifstream.golden.model.readouts import PotentialReadout, SpikeCountReadout, VoteReadout
from lifstream.golden.model.rules.desire import DesireModel
from lifstream.golden.model.rules.fixed import FixedModel
from lifstream.golden.model.rules.stdp import StdpModel
from lifstream.golden.model.synapses import AugmentedSynapses, DenseSynapses, StructuredSynapses

__all__ = ["MODELS", "neuron_model", "readout_model", "rule_model", "synapses_model"]

MODELS: dict[type[Declaration], Any] = {
    Dense: DenseSynapses(),
    Conv: StructuredSynapses(),
    Local: StructuredSynapses(),
    SumPool: StructuredSynapses(),
    Augmented: AugmentedSynapses(),
    Lif: LIF,
    CubaLif: CUBA_LIF,
    CompetingLif: CompetingNeurons(),
    DesireBackpropagation: DesireModel(),
    PairStdp: StdpModel(),
    Fixed: FixedModel(),
    SpikeCounts: SpikeCountReadout(),
    Potentials: PotentialReadout(),
    Votes: VoteReadout(),
}


def synapses_model(synapses: Synapses) -> SynapsesModel:
    """The model of a kind of synapses."""
    model: SynapsesModel = MODELS[type(synapses)]
    return model


def neuron_model(neuron: Neuron) -> NeuronModel:
    """The model of a kind of neuron."""
    model: NeuronModel = MODELS[type(neuron)]
    return model


def rule_model(rule: Rule) -> LearningRule:
    """The model of a learning rule."""
    model: LearningRule = MODELS[type(rule)]
    return model


def readout_model(readout: Readout) -> ReadoutModel:
    """The model of a readout."""
    model: ReadoutModel = MODELS[type(readout)]
    return model
