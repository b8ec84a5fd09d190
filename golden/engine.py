"""Engines: how many images run through a network, one after the other, and what is counted on the way.

Two engines compute the same bits. ``NUMPY`` loops over the definition, :meth:`Network.forward` and
:func:`lifstream.golden.learning.learn`; ``NUMBA`` runs the compiled kernels, ten to thirty times faster. Both take
their random draws from :class:`lifstream.golden.draws.DrawGenerator`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.desire import output_neuron_desire
from lifstream.golden.draws import DrawGenerator, SampleDraws
from lifstream.golden.encoder import spike_patterns
from lifstream.golden.float_model import FloatNetwork
from lifstream.golden.learning import learn
from lifstream.golden.network import Network
from lifstream.golden.spec import (
    DESIRE_EXPONENT_MIN,
    PIXEL_MAX,
    Bounds,
    Eligibility,
    InputError,
    Magnitude,
    Modulation,
    NetworkSpec,
    Overflow,
    Phase,
)
from lifstream.golden.trace import trace

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
    """Real numbers, for comparison: see :mod:`lifstream.golden.float_model`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch of images did; every array is (count, ...)."""

    predictions: NDArray[np.int64]
    """Classes, or ``NO_PREDICTION`` on a tie."""
    spikes: NDArray[np.int64]
    """(count, lif_layers + 1): spikes of the input and of each LIF layer over the sample."""
    learned: NDArray[np.bool_]
    """True where there was something to learn; all False when only classified."""
    updates: NDArray[np.int64]
    """Weights visited by the update."""
    responses: NDArray[np.uint8]
    """Spike counts of the last LIF layer, (count, responding) with stdp, otherwise (count, 0)."""

    @staticmethod
    def empty(count: int, spec: NetworkSpec) -> Outcome:
        """Room for ``count`` images."""
        return Outcome(predictions=np.empty(count, dtype=np.int64),
                       spikes=np.empty((count, spec.lif_layers + 1), dtype=np.int64),
                       learned=np.zeros(count, dtype=np.bool_), updates=np.zeros(count, dtype=np.int64),
                       responses=np.empty((count, spec.responding if spec.stdp else 0), dtype=np.uint8))

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
        if network.spec.stdp is not None and isinstance(network, FloatNetwork):
            raise InputError("arithmetic: the float model has desire backpropagation only; use integers with stdp")
        if engine is Engine.NUMBA:
            self._compiled: Any = \
                _Compiled(network.spec, network) if network.spec.stdp is None else _CompiledPlastic(network.spec)
        elif isinstance(network, FloatNetwork):
            raise InputError("engine: the float model has compiled kernels only; use numba")

    def prepare(self, *, learning: bool) -> None:
        """Compile the kernels, or load them from the cache: ten seconds the first time, so that rates leave it out."""
        none = np.empty((0, self.network.spec.inputs), dtype=np.uint8)
        self.infer(none)
        if learning:
            low, _ = self.network.spec.rate_shift_range
            self.learn(none, np.empty(0, dtype=np.uint8), rate_shift=low)

    def infer(self, images: NDArray[np.uint8]) -> Outcome:
        """Classify uint8 (count, inputs) images; raises InputError when they are not."""
        images = self._checked(images)
        outcome = Outcome.empty(len(images), self.network.spec)
        if self.engine is Engine.NUMBA:
            self._compiled.infer(images, self.network, outcome)
        elif len(images):
            assert isinstance(self.network, Network)
            record = self.network.forward(images)
            outcome.predictions[:] = record.prediction
            outcome.spikes[:] = record.spike_totals()
            outcome.responses[:] = record.counts[:, :outcome.responses.shape[1]]
        return outcome

    def learn(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, rate_shift: int) -> Outcome:
        """Learn from uint8 (count, inputs) images and their labels, uint8 (count,), one after the other.

        Raises
        ------
        InputError
            Images or labels of another shape or type, or a label the network has no class for.
        """
        images, classes = self._checked(images), self.network.spec.classes
        if labels.dtype != np.uint8 or labels.shape != (len(images),):
            raise InputError(f"labels: {labels.dtype} {labels.shape}, expected uint8 {(len(images),)}")
        if len(labels) and labels.max() >= classes:
            raise InputError(f"labels: {labels.max()} is out of bounds, the network has {classes} classes")
        outcome = Outcome.empty(len(images), self.network.spec)
        if self.engine is Engine.NUMBA:
            draws = [self.draws.draw() for _ in images]
            self._compiled.learn(images, labels, self.network, draws, rate_shift, outcome)
            return outcome
        assert isinstance(self.network, Network)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            record = learn(self.network, image, int(label), rate_shift=rate_shift,
                           **self.draws.draw()._asdict())
            outcome.predictions[index] = record.forward.prediction
            outcome.spikes[index] = record.forward.spike_totals()
            outcome.learned[index] = bool(record.teaching)
            outcome.updates[index] = record.updates
            outcome.responses[index] = record.forward.counts[:outcome.responses.shape[1]]
        return outcome

    def _checked(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images as the kernels take them, which check nothing themselves: one layout, writable."""
        inputs = self.network.spec.inputs
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != inputs:
            raise InputError(f"images: {images.dtype} {images.shape}, expected uint8 (count, {inputs})")
        return np.require(images, requirements=["C", "W"])


def _stacked_masks(spec: NetworkSpec, samples: Sequence[SampleDraws]) -> tuple[NDArray[np.uint8], ...]:
    """Masks as the kernels take them: uint8 (count, n) per layer, or (1, n) of ones where nothing is dropped."""
    masks = [np.ones((1, size), dtype=np.uint8) for size in spec.sizes[1:]]
    if spec.dropout and samples:
        for layer in range(spec.layers - 1):
            masks[layer] = np.array([sample.kept[layer] for sample in samples], dtype=np.uint8)
    return tuple(masks)


class _Compiled:
    """The compiled kernels with the constants of one contract, in one kind of numbers."""

    def __init__(self, spec: NetworkSpec, network: Network | FloatNetwork) -> None:
        # numba takes a second to import; commands that do not compute need not wait for it.
        from lifstream.golden import kernels

        value: type[np.generic] = np.float32
        if isinstance(network, FloatNetwork):
            self._constants = _float_constants(spec)
            self._shift: Callable[[int], int] = int
        else:
            widest = max(max(spec.membrane_bits(layer), spec.current_bits(layer)) for layer in range(spec.layers))
            value = np.int32 if widest < 32 else np.int64
            self._constants = _integer_constants(spec, value)
            self._shift = spec.update_shift
        self._kernels, self._spec = kernels, spec
        self._scratch = kernels.scratch_for(spec.sizes, spec.steps, value)

    def infer(self, images: NDArray[np.uint8], network: Network | FloatNetwork, outcome: Outcome) -> None:
        masks = _stacked_masks(self._spec, [])
        self._kernels.infer_all(images, tuple(network.weights), masks, self._constants, self._scratch,
                                outcome.predictions, outcome.spikes)

    def learn(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], network: Network | FloatNetwork,
              draws: Sequence[SampleDraws], rate_shift: int, outcome: Outcome) -> None:
        masks = _stacked_masks(self._spec, draws)
        self._kernels.learn_all(images, labels, tuple(network.weights), masks, _rounding_states(self._spec, draws),
                                self._shift(rate_shift), self._constants, self._scratch, outcome.predictions,
                                outcome.spikes, outcome.learned, outcome.updates)


def _rounding_states(spec: NetworkSpec, draws: Sequence[SampleDraws]) -> NDArray[np.int64]:
    """Rounding states of samples and layers, -1 to round half up."""
    states = np.full((len(draws), spec.lif_layers), -1, dtype=np.int64)
    for index, draw in enumerate(draws):
        if draw.rounding is not None:
            states[index] = draw.rounding
    return states


class _CompiledPlastic:
    """The compiled kernels of a contract with spike-timing-dependent plasticity."""

    def __init__(self, spec: NetworkSpec) -> None:
        from lifstream.golden import stdp_kernels

        stdp = spec.stdp
        assert stdp is not None
        bounds = np.array([spec.membrane_range(layer) for layer in range(spec.lif_layers)], dtype=np.int64)
        self._kernels, self._spec = stdp_kernels, spec
        self._constants = stdp_kernels.PlasticConstants(
            leak_shift=spec.leak_shift, spike_unit=1 << spec.trace_fraction,
            pixel_trace=np.zeros((PIXEL_MAX + 1, spec.steps), dtype=np.int32),
            membrane_min=bounds[:, 0].copy(), membrane_max=bounds[:, 1].copy(), threshold_base=stdp.threshold_base,
            threshold_rise=stdp.threshold_rise, threshold_leak_shift=stdp.threshold_leak_shift,
            inhibition=stdp.inhibition, weight_sum=stdp.weight_sum, rewarded=stdp.modulation is Modulation.REWARD,
            soft=stdp.bounds is Bounds.SOFT, target=stdp.presynaptic_target,
            depressed=stdp.depression_shift is not None, gain_shift=stdp.gain_shift,
            punishment_shift=stdp.punishment_shift, fraction=spec.weight_fraction, **_input_spikes(spec))
        self._scratch = stdp_kernels.plastic_scratch(spec.sizes, spec.steps)
        self._sums = tuple(np.zeros(size, dtype=np.int64) for size in spec.sizes[1:-1])
        self._totals = np.zeros(spec.classes, dtype=np.int64)

    def infer(self, images: NDArray[np.uint8], network: Network, outcome: Outcome) -> None:
        self._kernels.infer_plastic(images, tuple(network.weights), tuple(network.thresholds), self._sums,
                                    self._constants, self._scratch, outcome.predictions, outcome.spikes,
                                    outcome.responses, self._totals)

    def learn(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], network: Network,
              draws: Sequence[SampleDraws], rate_shift: int, outcome: Outcome) -> None:
        self._kernels.learn_plastic(images, labels, tuple(network.weights), tuple(network.thresholds), self._sums,
                                    _rounding_states(self._spec, draws), self._spec.update_shift(rate_shift),
                                    self._constants, self._scratch, outcome.predictions, outcome.spikes,
                                    outcome.responses, self._totals, outcome.learned, outcome.updates)


def _input_spikes(spec: NetworkSpec) -> dict[str, Any]:
    """How often and when pixels spike."""
    patterns = spike_patterns(spec.steps)
    steps = np.zeros((PIXEL_MAX + 1, spec.steps), dtype=np.int64)
    for intensity in range(PIXEL_MAX + 1):
        fired = np.flatnonzero(patterns[:, intensity])
        steps[intensity, :len(fired)] = fired
    return {"spike_count": patterns.sum(axis=0, dtype=np.int64), "spike_steps": steps}


def _shared_constants(spec: NetworkSpec) -> dict[str, Any]:
    """What does not depend on the arithmetic: enums as flags, input spikes, output desires."""
    counts = np.arange(spec.steps + 1)
    roles = [output_neuron_desire(spec, counts, np.full(len(counts), role)) for role in (False, True)]
    return {
        "leak_shift": spec.leak_shift, "desired_count": spec.desired_count,
        "graded": spec.magnitude is Magnitude.GRADED, "eligible_by_spike": spec.eligibility is Eligibility.SPIKE,
        "output_sign": np.array([role.sign for role in roles]),
        "output_exponent": np.array([role.exponent for role in roles]),
        "output_error": np.array([role.error for role in roles]), "exponent_min": DESIRE_EXPONENT_MIN,
        **_input_spikes(spec)}


def _membrane_constants(bounds: NDArray[Any], thresholds: NDArray[Any], half: NDArray[Any]) -> dict[str, Any]:
    eligible_from = half.copy()
    eligible_from[-1] = bounds[-1, 0]  # the output layer is always eligible
    return {"threshold": thresholds, "eligible_from": eligible_from, "membrane_min": bounds[:, 0].copy(),
            "membrane_max": bounds[:, 1].copy()}


def _thresholds(spec: NetworkSpec) -> NDArray[np.int64]:
    return np.array([[spec.threshold(layer, phase) for layer in range(spec.layers)]
                     for phase in (Phase.INFERENCE, Phase.TRAINING)])


def _integer_constants(spec: NetworkSpec, value: type[np.generic]) -> Any:
    from lifstream.golden.kernels import Constants

    bounds = np.array([spec.membrane_range(layer) for layer in range(spec.layers)], dtype=value)
    thresholds = _thresholds(spec).astype(value)
    exponents = np.arange(DESIRE_EXPONENT_MIN, 1)
    return Constants(
        weight_min=spec.weight_min, weight_max=spec.weight_max, spike_unit=1 << spec.trace_fraction,
        pixel_trace=np.ascontiguousarray(trace(spec, spike_patterns(spec.steps)).T.astype(np.int32)),
        hidden_threshold=spec.hidden_threshold_raw(),
        exponent_from=np.int64(1) << (exponents - DESIRE_EXPONENT_MIN + spec.weight_fraction),
        **_membrane_constants(bounds, thresholds, thresholds[1] >> 1), **_shared_constants(spec))


def _float_constants(spec: NetworkSpec) -> Any:
    """The contract in real numbers: the threshold is 1, no format ends, traces decay without rounding."""
    from lifstream.golden.kernels import Constants

    patterns = spike_patterns(spec.steps)
    traces = np.zeros((PIXEL_MAX + 1, spec.steps), dtype=np.float32)
    state = np.zeros(PIXEL_MAX + 1)
    for step, fired in enumerate(patterns):
        state = state * (1 - 2.0**-spec.leak_shift) + fired
        traces[:, step] = state
    thresholds = (_thresholds(spec) / spec.one).astype(np.float32)
    bounds = np.tile(np.array([-np.inf, np.inf], dtype=np.float32), (spec.layers, 1))
    if spec.membrane_overflow is Overflow.SATURATE:
        bounds[:] = -spec.membrane_clamp, spec.membrane_clamp
    exponents = np.arange(DESIRE_EXPONENT_MIN, 1)
    unit = 2.0**-DESIRE_EXPONENT_MIN if spec.magnitude is Magnitude.GRADED else spec.desired_count
    return Constants(
        weight_min=-np.inf, weight_max=np.inf, spike_unit=1.0, pixel_trace=traces,
        hidden_threshold=spec.hidden_threshold_real * unit, exponent_from=2.0**(exponents - DESIRE_EXPONENT_MIN),
        **_membrane_constants(bounds, thresholds, thresholds[1] / 2), **_shared_constants(spec))
