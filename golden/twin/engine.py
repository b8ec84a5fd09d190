"""Engines: how many images run through a network, one after the other, and what is counted on the way.

Two engines compute the same bits. ``NUMPY`` loops over the definition, :meth:`Network.forward` and
:func:`lifstream.golden.model.learning.learn`; ``NUMBA`` runs the compiled kernels, ten to thirty times faster. Both
take their random draws from :class:`lifstream.golden.model.draws.DrawGenerator`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import PIXEL_MAX, Overflow, Phase
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec, PlacedLayer
from lifstream.golden.contract.readout import Potentials, Statistic
from lifstream.golden.contract.rules import DesireBackpropagation, Fixed, PairStdp, Rule
from lifstream.golden.contract.state import Lifetime
from lifstream.golden.model.draws import DrawGenerator, SampleDraws
from lifstream.golden.model.encoder import spike_patterns
from lifstream.golden.model.learning import learn, require_learning
from lifstream.golden.model.network import Network
from lifstream.golden.model.neurons.independent import IndependentNeurons, Potential
from lifstream.golden.model.registry import neuron_model
from lifstream.golden.twin.float_model import FloatNetwork

__all__ = ["Arithmetic", "Engine", "Outcome", "Runner"]


class Engine(enum.StrEnum):
    """What computes; the results are the same."""

    NUMBA = "numba"
    """Compiled kernels."""
    NUMPY = "numpy"
    """The definition itself, in array operations."""


class Arithmetic(enum.StrEnum):
    """What numbers a network is made of."""

    INTEGER = "integer"
    """The contract's, as in the hardware."""
    FLOAT = "float"
    """Real numbers, for comparison: see :mod:`lifstream.golden.twin.float_model`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch of images did; every array is (count, ...)."""

    predictions: NDArray[np.int64]
    """Classes, or ``NO_PREDICTION`` on a tie."""
    spikes: NDArray[np.int64]
    """(count, layers + 1): spikes of the input and of each layer over the sample."""
    learned: NDArray[np.bool_]
    """True where there was something to learn; all False when only classified."""
    updates: NDArray[np.int64]
    """Weights visited by the update."""
    responses: NDArray[np.int64]
    """What the answer says of the last layer's neurons, (count, responding): spike counts, or of potentials."""

    @staticmethod
    def empty(count: int, spec: NetworkSpec) -> Outcome:
        """Room for ``count`` images."""
        return Outcome(predictions=np.empty(count, dtype=np.int64),
                       spikes=np.empty((count, len(spec.layers) + 1), dtype=np.int64),
                       learned=np.zeros(count, dtype=np.bool_), updates=np.zeros(count, dtype=np.int64),
                       responses=np.empty((count, spec.responding), dtype=np.int64))

    @staticmethod
    def joined(parts: Sequence[Outcome]) -> Outcome:
        """Several batches as one."""
        return Outcome(**{entry.name: np.concatenate([getattr(part, entry.name) for part in parts])
                          for entry in fields(Outcome)})


class Runner:
    """A network in the hands of an engine.

    Parameters
    ----------
    network
        Learning changes its weights in place. A :class:`FloatNetwork` runs in real numbers.
    engine
        Which code computes.

    Raises
    ------
    InputError
        A float network with an engine, or a rule, that has no real numbers.
    """

    def __init__(self, *, network: Network | FloatNetwork, engine: Engine = Engine.NUMBA) -> None:
        self.network = network
        self.engine = engine
        self.draws = DrawGenerator(network.spec)
        """Source of dropout masks and rounding states; its states are part of a checkpoint."""
        if engine is Engine.NUMBA:
            self._compiled = _Compiled(network)
        elif isinstance(network, FloatNetwork):
            raise InputError("engine: the float model has compiled kernels only; use numba")

    def prepare(self, *, learning: bool) -> None:
        """Compile the kernels, or load them from the cache: ten seconds the first time, so that rates leave it out."""
        none = np.empty((0, self.network.spec.sample_bytes), dtype=np.uint8)
        self.infer(none)
        if learning:
            low, _ = self.network.spec.rate_shift_range
            self.learn(none, np.empty(0, dtype=np.uint8), rate_shift=low)

    def infer(self, images: NDArray[np.uint8]) -> Outcome:
        """Classify samples, uint8 (count, bytes); raises InputError when they are not."""
        images = self._checked(images)
        outcome = Outcome.empty(len(images), self.network.spec)
        if self.engine is Engine.NUMBA:
            self._compiled.infer(images, outcome)
        elif len(images):
            assert isinstance(self.network, Network)
            record = self.network.classify(images)
            outcome.predictions[:] = record.prediction
            outcome.spikes[:] = record.spike_totals()
            outcome.responses[:] = record.responses
        return outcome

    def learn(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, rate_shift: int) -> Outcome:
        """Learn from samples, uint8 (count, bytes), and their labels, uint8 (count,), one after the other.

        Raises
        ------
        InputError
            Images or labels of another shape or type, a label the network has no class for, or weights that are fixed.
        """
        require_learning(self.network.spec)
        images, classes = self._checked(images), self.network.spec.classes
        if labels.dtype != np.uint8 or labels.shape != (len(images),):
            raise InputError(f"labels: {labels.dtype} {labels.shape}, expected uint8 {(len(images),)}")
        if len(labels) and labels.max() >= classes:
            raise InputError(f"labels: {labels.max()} is out of bounds, the network has {classes} classes")
        outcome = Outcome.empty(len(images), self.network.spec)
        if self.engine is Engine.NUMBA:
            draws = [self.draws.draw() for _ in images]
            self._compiled.learn(images, labels, draws, rate_shift, outcome)
            return outcome
        assert isinstance(self.network, Network)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            record = learn(self.network, image, int(label), rate_shift=rate_shift,
                           **self.draws.draw()._asdict())
            outcome.predictions[index] = record.forward.prediction
            outcome.spikes[index] = record.forward.spike_totals()
            outcome.learned[index] = bool(record.teaching)
            outcome.updates[index] = record.updates
            outcome.responses[index] = record.forward.responses
        return outcome

    def _checked(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images as the kernels take them, which check nothing themselves: one layout, writable."""
        size = self.network.spec.sample_bytes
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != size:
            raise InputError(f"images: {images.dtype} {images.shape}, expected uint8 (count, {size})")
        return np.require(images, requirements=["C", "W"])


def _input_spikes(steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often and when pixels of each intensity spike."""
    patterns = spike_patterns(steps)
    places = np.zeros((PIXEL_MAX + 1, steps), dtype=np.int64)
    for intensity in range(PIXEL_MAX + 1):
        fired = np.flatnonzero(patterns[:, intensity])
        places[intensity, :len(fired)] = fired
    return patterns.sum(axis=0, dtype=np.int64), places


def _masks(spec: NetworkSpec, samples: Sequence[SampleDraws]) -> tuple[NDArray[np.uint8], ...]:
    """Masks as the kernels take them: uint8 (count, n) per layer, or (1, n) of ones where nothing is dropped."""
    masks = [np.ones((1, layer.n_out), dtype=np.uint8) for layer in spec.layers]
    for index in range(len(masks)):
        kept = [sample.kept[index] for sample in samples]
        if kept and kept[0] is not None:
            masks[index] = np.array(kept, dtype=np.uint8)
    return tuple(masks)


def _rounding_states(spec: NetworkSpec, draws: Sequence[SampleDraws]) -> NDArray[np.int64]:
    """Rounding states of samples and layers, -1 to round half up."""
    states = np.full((len(draws), len(spec.layers)), -1, dtype=np.int64)
    for index, draw in enumerate(draws):
        for layer, state in enumerate(draw.rounding or ()):
            if state is not None:
                states[index, layer] = state
    return states


class _Compiled:
    """The compiled kernels with the constants of one contract, in one kind of numbers.

    Raises
    ------
    InputError
        The rule, or a neuron, has no compiled form, or none in real numbers.
    """

    def __init__(self, network: Network | FloatNetwork) -> None:
        # numba takes a second to import; commands that do not compute need not wait for it.
        from lifstream.golden.twin import desire, fixed, kernels, stdp
        from lifstream.golden.twin.synapses import twin_of

        modules: dict[type[Rule], Any] = {DesireBackpropagation: desire, PairStdp: stdp, Fixed: fixed}
        spec = network.spec
        self._kernels, self._network, self._spec = kernels, network, spec
        self._real = isinstance(network, FloatNetwork)
        value: type[Any] = np.int64
        if self._real:
            value = np.float32
        elif max(array.bits for at in spec.placed for array in at.state) < 32 and \
                max(at.current_bits for at in spec.placed) < 32:
            value = np.int32
        self._value = value
        module = modules.get(type(spec.layers[0].rule))  # all layers learn by one
        if module is None:
            raise InputError(f"engine: rule {spec.layers[0].rule.kind} has no compiled form; use numpy")
        self._rules = tuple(module.real_constants(at) if self._real else module.integer_constants(at, value)
                            for at in spec.placed)
        self._layers = tuple(self._layer(at) for at in spec.placed)
        self._layers_now()  # raises where that cannot be
        self._synapses = tuple(twin_of(at.synapses) for at in spec.placed)
        packed = isinstance(spec.input, Events)
        self._inputs = kernels.InputSpikes(*_input_spikes(spec.steps), packed)
        widths = [layer.n_out for layer in spec.layers]
        trains = spec.inputs if packed else 0
        self._scratch = kernels.Scratch(
            trains=np.zeros((spec.steps, trains), dtype=np.uint8), train_counts=np.zeros(trains, dtype=np.int64),
            current=tuple(np.zeros((spec.steps, width), dtype=value) for width in widths),
            spikes=tuple(np.zeros((spec.steps, width), dtype=np.uint8) for width in widths),
            counts=tuple(np.zeros(width, dtype=np.int64) for width in widths),
            responses=np.zeros(spec.responding, dtype=np.int64), totals=np.zeros(spec.classes, dtype=np.int64))
        self._statistic = list(Statistic).index(spec.readout.statistic) if isinstance(spec.readout, Potentials) else -1
        self._excess = tuple(np.zeros(width, dtype=np.int64) for width in widths)

    def _layer(self, at: PlacedLayer) -> Any:
        """A layer's neurons as the kernels read them."""
        from lifstream.golden.twin.neurons import STEPS

        model = neuron_model(at.neuron)
        phases = tuple(self._constants(at, model.parameters(at, phase)) for phase in Phase)
        if isinstance(model, IndependentNeurons):
            STEPS[type(phases[0])] = model.step
        arrays = [array for array in at.state if array.lifetime is Lifetime.SAMPLE]
        # A competing neuron's potential is compared with thresholds, which are wider.
        value = self._value if isinstance(model, IndependentNeurons) else np.int64
        return self._kernels.LayerTwin(constants=phases, states=tuple(np.zeros(at.n_out, dtype=value) for _ in arrays),
                                       resets=tuple(value(array.reset) for array in arrays))

    def _constants(self, at: PlacedLayer, parameters: Any) -> Any:
        """A neuron's constants in the engine's numbers: potentials are real ones, or of the type that holds them."""
        kinds = get_type_hints(type(parameters))
        values = parameters._asdict()
        for name, amount in values.items():
            if kinds[name] is not Potential:
                continue
            values[name] = self._value(amount / (at.formats.one << at.neuron.guard_bits) if self._real else amount)
            if self._real and at.formats.membrane_overflow is Overflow.WIDE and amount in at.membrane_range:
                values[name] = self._value(np.copysign(np.inf, amount))  # real weights know no bounds
        return type(parameters)(**values)

    def _own(self, at: PlacedLayer) -> dict[str, NDArray[Any]]:
        """Parameters of which each neuron has its own, as they are now, in the engine's numbers."""
        model, network = neuron_model(at.neuron), self._network
        learnt = [array.name for array in at.state if array.lifetime is Lifetime.LEARNT]
        if not isinstance(model, IndependentNeurons) or len(learnt) == 1:
            return {}
        if isinstance(network, FloatNetwork):
            raise InputError(f"arithmetic: the float model has no {learnt[1]} per neuron; use integers")
        kinds = get_type_hints(type(model.parameters(at, Phase.INFERENCE)))
        return {name: values.astype(self._value if kinds[name] is Potential else np.int64)
                for name, values in model.own(at, network.layer_state(at.index)).items()}

    def _layers_now(self) -> tuple[Any, ...]:
        """The layers with what their neurons have of their own."""
        return tuple(layer._replace(constants=tuple(each._replace(**own) for each in layer.constants)) if own else layer
                     for layer, own in zip(self._layers, map(self._own, self._spec.placed), strict=True))

    def _rules_now(self) -> tuple[Any, ...]:
        """The rules with what follows from thresholds that neurons have of their own: all layers' are of one type."""
        network = self._network
        if not isinstance(self._spec.layers[0].rule, DesireBackpropagation) or not isinstance(network, Network) or \
                "thresholds" not in network.state:
            return self._rules
        thresholds = [network.layer_state(at.index).get(
            "thresholds", np.full(at.n_out, at.neuron.threshold_in(Phase.TRAINING))) for at in self._spec.placed]
        return tuple(rule._replace(eligible_from=(each >> 1).astype(self._value))
                     for rule, each in zip(self._rules, thresholds, strict=True))

    def _state(self) -> Any:
        spec, network = self._spec, self._network
        thresholds, votes = [np.zeros(0, dtype=np.int64)] * len(spec.layers), np.zeros((0, spec.classes), np.int32)
        if isinstance(network, Network):
            thresholds = [network.layer_state(index).get("thresholds", thresholds[index])
                          for index in range(len(spec.layers))]
            votes = next(iter(network.readout_state), votes)
        return self._kernels.State(
            weights=tuple(network.weights[:len(spec.layers)]), thresholds=tuple(thresholds), excess=self._excess,
            weight_sums=np.array([at.neuron.weight_sum for at in spec.placed], dtype=np.int64), votes=votes)

    def infer(self, images: NDArray[np.uint8], outcome: Outcome) -> None:
        self._run(images, np.empty(0, dtype=np.uint8), [], outcome, learning=False)

    def learn(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], draws: Sequence[SampleDraws],
              rate_shift: int, outcome: Outcome) -> None:
        if not self._real:
            self._spec.at(0).update_shift(rate_shift)  # raises when no update can be made so
        self._run(images, labels, draws, outcome, learning=True, rate_shift=rate_shift)

    def _run(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], draws: Sequence[SampleDraws],
             outcome: Outcome, *, learning: bool, rate_shift: int = 0) -> None:
        self._kernels.run_all(images, labels, learning, self._layers_now(), self._synapses, self._rules_now(),
                              self._state(), _masks(self._spec, draws), _rounding_states(self._spec, draws), rate_shift,
                              self._inputs, self._statistic, self._scratch, outcome.predictions, outcome.spikes,
                              outcome.responses, outcome.learned, outcome.updates)
