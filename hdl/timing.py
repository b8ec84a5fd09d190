"""Clock cycles of a network, reckoned from what its layers have to go through, step by step.

The pipeline of encoder and layers is gone through as a schedule: when a step's events are through, when its end is
handed over, when its spikes reach the next layer, and when that makes the one before wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.neurons import CompetingLif
from lifstream.golden.contract.rules import Bounds, PairStdp
from lifstream.hdl.census import LayerFacts, layer_facts
from lifstream.hdl.geometry import Geometry, LayerGeometry, target_count

__all__ = ["Cycles", "image_cycles"]


class _LayerActivity(Protocol):
    """See :class:`lifstream.golden.study.activity.LayerActivity`."""

    @property
    def events(self) -> Sequence[int]: ...
    @property
    def targets(self) -> Sequence[int]: ...
    @property
    def reached(self) -> Sequence[int]: ...
    @property
    def fired(self) -> int: ...
    @property
    def desired(self) -> int: ...
    @property
    def passed(self) -> int: ...
    @property
    def deficit(self) -> int: ...


class _SampleActivity(Protocol):
    """See :class:`lifstream.golden.study.activity.SampleActivity`."""

    @property
    def pixels(self) -> int: ...
    @property
    def layers(self) -> Sequence[_LayerActivity]: ...
    @property
    def output(self) -> Sequence[int]: ...
    @property
    def learnt(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Clock cycles per image.

    Parameters
    ----------
    total
        From one image to the next.
    forward, update
        Per layer: clocks in which it is busy with spikes and the ends of steps, and with updates.
    """

    total: float
    forward: tuple[float, ...]
    update: tuple[float, ...]


_TO_SPIKE = 13
"""Clocks from a step being handed over to the first spike being at the next layer."""

_RETURN = 8
"""Clocks from a fold being handed over to its first slice's room being there again."""

_SETTLING = 4
"""Clocks from the last spike of a step until it is known which positions of a map were reached."""

_AHEAD = 8
"""Events by which the encoder is ahead of the first layer."""

_ENCODER = 10
"""Clocks from an image's last pixel to its first event."""


class _Layer:
    """A layer's place in the schedule."""

    def __init__(self, spec: NetworkSpec, index: int, geometry: LayerGeometry, facts: LayerFacts) -> None:
        self.at, self.geometry, self.facts = spec.at(index), geometry, facts
        self.over = 0           # its last step is handed over
        self.handing = self.before = 0  # the last step's end began to be handed over; the one's before that
        self.ready = 0          # it may begin a sample to learn from
        self.busy = self.updating = 0

    def slots(self, activity: _LayerActivity, step: int) -> int:
        """Folds that are served at a step's end."""
        return activity.reached[step] * self.geometry.row_folds if self.geometry.walked else self.geometry.folds

    def row_clocks(self, activity: _LayerActivity, rate_shift: int) -> int:
        """To change a row of a fold."""
        facts, at = self.facts, self.at
        shifts = at.update_shift(rate_shift) + activity.deficit
        if isinstance(at.rule, PairStdp):
            shifts += at.rule.gain_shift + (at.formats.weight_fraction if at.rule.bounds is Bounds.SOFT else 0)
        shifts = min(facts.shifts_max, max(3, shifts))
        correlate = self.geometry.blocks(at.steps) + 2 + self.geometry.fold_latency
        return max(correlate, shifts + 4 + facts.lead)

    def update_clocks(self, activity: _LayerActivity, rate_shift: int) -> int:
        """From the desires being known to all weights being changed."""
        geometry, row = self.geometry, self.row_clocks(activity, rate_shift)
        if self.facts.every_row:
            return geometry.n_in * geometry.folds * row + geometry.folds * self.facts.pace.interval
        start = geometry.blocks(self.at.steps) + 8
        if not geometry.walked:
            return activity.desired * geometry.folds * row + start
        return start + 7 * activity.fired + (activity.desired * row + activity.passed) * geometry.row_folds


@lru_cache(maxsize=4096)
def _serving(slots: int, interval: int, lanes_per_group: int, room: int) -> int:
    """Clocks from a step's first fold being handed over to its last: each reserves room for its slices, which comes
    back slice by slice."""
    handed = [0]
    for slot in range(1, slots):
        back = (slot + 1) * lanes_per_group - room - 1     # the slice whose room is needed too
        waited = handed[back // lanes_per_group] + _RETURN + back % lanes_per_group if back >= 0 else 0
        handed.append(max(handed[-1] + interval, waited))
    return handed[-1]


def _forward(layers: list[_Layer], sample: _SampleActivity, encoder: int, pixels_per_clock: int, steps: int) -> int:
    """Let a sample go through; returns when the encoder is done with it."""
    words = -(-sample.pixels // pixels_per_clock)
    last = len(layers) - 1
    for step in range(steps):
        sent = sample.layers[0].events[step] + 1
        encoder += max(sent, words)
        begun, arrived = encoder - sent, encoder
        for index, layer in enumerate(layers):
            activity, geometry, interval = sample.layers[index], layer.geometry, layer.facts.pace.interval
            work = activity.targets[step] * geometry.row_folds
            through = max(max(layer.over, begun) + work, arrived) + (_SETTLING if geometry.walked else 1)
            if layer.at.synapses.recurrent:     # a step's end waits until the step before has left
                through = max(through, layer.over + _TO_SPIKE + geometry.lanes_per_group + 1)
            earliest = layer.handing + max(interval, layer.facts.pace.turnaround) if layer.geometry.folds == 1 else 0
            handing = max(through, earliest)
            slots = layer.slots(activity, step)
            serving = (slots - 1) * interval
            if not isinstance(layer.at.neuron, CompetingLif):   # of those, one spike of a step at most
                serving = _serving(slots, interval, geometry.lanes_per_group, layer.facts.room)
            # Slices wait when the next layer takes their spikes more slowly than they come, and there is no more room.
            if index < last:
                behind, taken = layers[index + 1], sample.layers[index + 1]
                there = max(behind.over, handing + _TO_SPIKE)
                spikes = taken.events[step]
                left = spikes * (slots - 1) // slots - layer.facts.room + geometry.lanes_per_group
                beyond = max(0, left) * taken.targets[step] * behind.geometry.row_folds // max(1, spikes)
                serving = max(serving, there + beyond - handing) if beyond else serving
                handing = max(handing, behind.before - behind.geometry.row_folds)
            layer.busy += work + serving + 2
            layer.before, layer.handing, layer.over = layer.handing, handing, handing + serving + 1
            begun = handing + _TO_SPIKE
            arrived = layer.over + _TO_SPIKE + geometry.lanes_per_group - 1
    return encoder


def _learn(spec: NetworkSpec, layers: list[_Layer], sample: _SampleActivity, rate_shift: int) -> None:
    """Let the desires go back, and the weights change; every layer is ready for the next sample afterwards."""
    last = layers[-1]
    time = last.over + _TO_SPIKE + last.geometry.lanes_per_group + 2 * spec.classes + 10
    for index in range(len(layers) - 1, -1, -1):
        layer, activity = layers[index], sample.layers[index]
        geometry = layer.geometry
        if not sample.learnt:
            time += 3
            layer.ready = time
            continue
        if layer.facts.every_row:
            update = layer.update_clocks(activity, rate_shift)
            layer.ready = time + update
            layer.updating += update
            continue
        time += geometry.folds + (geometry.n_out if index < len(layers) - 1 else 0)
        if index:   # rows for the desires of the layer before
            back = _passed_back(layer)
            update = layer.update_clocks(activity, rate_shift)
            layer.ready = time + back + update + 10
            # They are received as they come.
            time += max(0, back - layers[index - 1].geometry.n_out) + 15
        else:
            update = layer.update_clocks(activity, rate_shift) if activity.desired else 0
            layer.ready = time + update
        layer.updating += update


def _passed_back(layer: _Layer) -> int:
    geometry, synapses = layer.geometry, layer.at.synapses
    if not geometry.walked:
        return geometry.n_before * geometry.folds
    return target_count(synapses) * geometry.row_folds


def image_cycles(spec: NetworkSpec, geometry: Geometry, samples: Sequence[_SampleActivity], *,
                 rate_shift: int | None = None) -> Cycles:
    """Clock cycles per image, one image after the other.

    Parameters
    ----------
    spec, geometry
        The network, and how it is folded.
    samples
        What its layers go through, at least one.
    rate_shift
        Learn from the samples at this rate; None: classify.
    """
    layers = [_Layer(spec, index, folded, layer_facts(spec, geometry, index))
              for index, folded in enumerate(geometry.layers(spec))]
    encoder = loaded = 0
    for sample in samples:
        # Loading goes on while the image before is played; there are two banks.
        loaded = max(loaded, encoder) + 6 if loaded else 0
        if rate_shift is not None:
            for layer in layers:
                layer.over = max(layer.over, layer.ready)
            encoder = max(encoder, layers[0].ready)
        began = encoder
        encoder = _forward(layers, sample, encoder, geometry.pixels_per_clock, spec.steps)
        encoder = max(encoder, began + spec.inputs + _ENCODER if spec.sample_bytes == spec.inputs else 0)
        if rate_shift is not None:
            _learn(spec, layers, sample, rate_shift)
    end = layers[-1].over if rate_shift is None else max(layer.ready for layer in layers)
    count = len(samples)
    return Cycles(total=end / count, forward=tuple(layer.busy / count for layer in layers),
                  update=tuple(layer.updating / count for layer in layers))
