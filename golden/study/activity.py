"""How busy a network is: of a sample, step by step, what every layer has to go through. Estimates of clock cycles start
from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.formats import PIXEL_MAX, Phase
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.synapses import Synapses
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.encoder import encode
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.rules.desire import Desire
from lifstream.golden.study.datasets import Split

__all__ = ["LayerActivity", "Rates", "SampleActivity", "measured_activity", "random_activity"]


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """What a layer goes through in a sample.

    Parameters
    ----------
    events
        Per step: spikes that arrive.
    targets
        Per step: positions that these reach, and those that reach none; of a dense layer the spikes.
    reached
        Per step: positions that spikes have reached in the sample so far, at least 1; of a dense layer 1.
    fired
        Presynaptic neurons that have fired.
    desired, passed
        Of all positions that these reach, those with a desire, and those without one.
    deficit
        The largest of its desires' negated exponents, 0 without any.
    """

    events: tuple[int, ...]
    targets: tuple[int, ...]
    reached: tuple[int, ...]
    fired: int = 0
    desired: int = 0
    passed: int = 0
    deficit: int = 0


@dataclass(frozen=True, kw_only=True)
class SampleActivity:
    """What a network goes through in a sample.

    Parameters
    ----------
    pixels
        That spike at all.
    layers
        A record per layer.
    output
        Per step: spikes of the last layer.
    learnt
        Whether there was something to learn.
    """

    pixels: int
    layers: tuple[LayerActivity, ...]
    output: tuple[int, ...]
    learnt: bool = False


@lru_cache(maxsize=64)
def _reach(synapses: Synapses) -> NDArray[np.bool_]:
    """Which positions a presynaptic neuron reaches, bool (n_in, positions)."""
    reach = np.zeros((synapses.n_in, synapses.positions), dtype=np.bool_)
    columns = synapses.weight_shape[1]
    for presynaptic in range(synapses.n_in):
        for target in synapses.targets(presynaptic):
            reach[presynaptic, target.first // columns] = True
    return reach


def _counts(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _layer_activity(synapses: Synapses, spikes: NDArray[np.bool_], wanted: NDArray[np.bool_] | None,
                    deficit: int) -> LayerActivity:
    """From presynaptic spikes, bool (T, n_in), and the neurons with a desire, bool (n_out,)."""
    events, fired = spikes.sum(axis=1), spikes.any(axis=0)
    if synapses.all_to_all:
        count = int(fired.sum())
        return LayerActivity(events=_counts(events), targets=_counts(events), reached=(1,) * len(events), fired=count,
                             desired=count if wanted is not None and wanted.any() else 0, deficit=deficit)
    reach = _reach(synapses)
    reaching = np.maximum(1, reach.sum(axis=1))
    so_far = np.logical_or.accumulate(spikes, axis=0)
    reached = (so_far.astype(np.float32) @ reach.astype(np.float32) > 0).sum(axis=1)
    desired = 0
    if wanted is not None:
        desired = int(reach[fired][:, wanted.reshape(synapses.positions, -1).any(axis=1)].sum())
    return LayerActivity(events=_counts(events), targets=_counts(spikes @ reaching),
                         reached=_counts(np.maximum(1, reached)), fired=int(fired.sum()), desired=desired,
                         passed=int(reaching[fired].sum()) - desired, deficit=deficit)


def _sample(spec: NetworkSpec, inputs: Sequence[NDArray[np.bool_]], output: NDArray[np.bool_], *, pixels: int,
            teaching: Sequence[Any] = ()) -> SampleActivity:
    layers = []
    for at, spikes in zip(spec.placed, inputs, strict=True):
        message = teaching[at.index] if teaching else None
        wanted, deficit = None, 0
        if isinstance(message, Desire):
            wanted = message.sign != 0
            deficit = int(-message.exponent[wanted].min()) if wanted.any() else 0
        layers.append(_layer_activity(at.synapses, spikes, wanted, deficit))
    return SampleActivity(pixels=pixels, layers=tuple(layers), output=_counts(output.sum(axis=1)),
                          learnt=bool(teaching))


def measured_activity(network: Network, split: Split, *, rate_shift: int | None = None) -> list[SampleActivity]:
    """What a network goes through, sample by sample, by the golden model.

    Parameters
    ----------
    network
        Its weights; they are not changed.
    split
        Samples and their labels.
    rate_shift
        Learn from them, one after the other, at this rate; None: classify.
    """
    spec, found = network.spec, []
    further = {name: arrays for name, arrays in network.state.items() if name != "weights"}
    own = Network(spec=spec, weights=network.weights, **further)
    draws = DrawGenerator(spec)
    audible = -(-PIXEL_MAX // spec.steps)
    for image, label in zip(split.images, split.labels, strict=True):
        if rate_shift is None:
            forward, teaching = own.forward(own.encode(image), phase=Phase.INFERENCE), ()
        else:
            record = learn(own, image, int(label), rate_shift=rate_shift, **draws.draw()._asdict())
            forward, teaching = record.forward, record.teaching
        pixels = int(forward.input_spikes.any(axis=0).sum()) if isinstance(spec.input, Events) else \
            int((image >= audible).sum())
        found.append(_sample(spec, forward.inputs, forward.layers[-1].spikes, pixels=pixels, teaching=teaching))
    return found


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How busy a network is on average; all are shares, 0..1.

    Parameters
    ----------
    active, spiking
        Of the inputs, those that spike at all, and of these the steps in which they do, where no images say it.
    layers
        Of each layer's neurons and steps, those that spike.
    learnt
        Samples with something to learn.
    desired
        Of hidden neurons, those with a desire then.
    """

    active: float = 0.35
    spiking: float = 0.4
    layers: tuple[float, ...]
    learnt: float = 0.35
    desired: float = 0.25

    @classmethod
    def typical(cls, spec: NetworkSpec) -> Rates:
        """Of a network of which nothing is known: every eighth neuron spikes in a step."""
        return cls(layers=(0.125,) * len(spec.layers))

    @classmethod
    def of_counts(cls, spec: NetworkSpec, spikes: Sequence[float], *, learnt: float) -> Rates:
        """From spikes per image of the input and each layer, and the share of samples that learnt."""
        shares = [min(1.0, count / (neurons * spec.steps)) for count, neurons in
                  zip(spikes, [spec.inputs, *(layer.n_out for layer in spec.layers)], strict=True)]
        active = max(cls.active, shares[0])
        return cls(active=active, spiking=shares[0] / active, layers=tuple(shares[1:]), learnt=min(1.0, learnt))


def random_activity(spec: NetworkSpec, rates: Rates, *, images: NDArray[np.uint8] | None = None, learning: bool = False,
                    samples: int = 20) -> list[SampleActivity]:
    """What a network goes through if its neurons spike at random, the same in every call.

    Parameters
    ----------
    spec
        The contract.
    rates
        How often.
    images
        What the input is encoded from, uint8 (count, bytes), of which the first ``samples`` are taken; None: random.
    learning
        Whether samples are learnt from.
    samples
        How many.
    """
    random = np.random.RandomState(np.random.MT19937(1))
    found = []
    for index in range(samples if images is None else min(samples, len(images))):
        if images is not None:
            spikes = encode(images[index], spec.steps)
        else:
            active = random.random_sample(spec.inputs) < rates.active
            spikes = (random.random_sample((spec.steps, spec.inputs)) < rates.spiking) & active
        pixels = int(spikes.any(axis=0).sum())
        inputs, teaching, learnt = [], [], learning and index < rates.learnt * samples
        for at in spec.placed:
            own = random.random_sample((spec.steps, at.n_out)) < rates.layers[at.index]
            further = [own] if at.synapses.recurrent else []
            further += [np.ones((spec.steps, 1), dtype=np.bool_)] if at.synapses.bias else []
            inputs.append(np.concatenate([spikes, *further], axis=1))
            sign = (random.random_sample(at.n_out) < rates.desired).astype(np.int64)
            teaching.append(Desire(sign=sign, exponent=_USUAL_EXPONENT * sign, error=sign))
            spikes = own
        found.append(_sample(spec, inputs, spikes, pixels=pixels, teaching=teaching if learnt else ()))
    return found


_USUAL_EXPONENT = -6
"""Of the smallest desire in a layer."""
