"""Networks of other tools, from a NIR file to a model, and back: what ``lifstream import`` and ``export`` do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events, Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import CubaLif, Reset
from lifstream.golden.contract.readout import SpikeCounts, Statistic
from lifstream.golden.contract.rules import Fixed
from lifstream.golden.contract.synapses import Dense
from lifstream.golden.model.encoder import encode, unpacked
from lifstream.golden.study.model_files import Model
from lifstream.golden.study.nir_export import graph_of, restored
from lifstream.golden.study.nir_graph import chain_of, read_graph, write_graph
from lifstream.golden.study.own_data import RANDOM, data_name, load_data, plain_name
from lifstream.golden.study.quantise import Quantised, quantised
from lifstream.golden.study.real_network import RealNetwork

__all__ = ["IMAGE_STEPS", "STEPS", "Imported", "export_nir", "import_nir"]

STEPS, IMAGE_STEPS = 100, 20
"""Time steps of a sample where nobody says: of spike trains, of images."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A network that came in, and what that cost."""

    model: Model
    """Its weights do not change on chip."""
    cost: Quantised | None
    """Layer by layer; None for a network that was exported from here, which loses nothing."""
    notes: tuple[str, ...]
    """What was assumed, a sentence each."""
    samples: int
    """Calibration samples."""


class _Samples(NamedTuple):
    """By which formats are chosen."""

    spikes: NDArray[np.bool_]
    """(count, T, inputs)."""
    images: bool = False
    """They are those of images: these are what the network will take."""


def _calibration(real: RealNetwork, place: str, steps: int | None, samples: int, data_dir: Path | None) -> _Samples:
    if place == RANDOM:
        like = _stand_in(real, steps or STEPS)
        dataset = load_data(RANDOM, like=like)
    else:
        dataset = load_data(place, data_dir=data_dir)
        like = _stand_in(real, dataset.steps or steps or IMAGE_STEPS, classes=dataset.classes,
                         images=dataset.steps is None)
        dataset.require_fit(like)
    chosen = dataset.train.images[:samples]
    if dataset.steps is None:
        height, width = dataset.height, dataset.width
        takes = (real.map.height, real.map.width, real.map.channels)
        if takes not in ((height, width, 1), (1, height * width, 1), (1, 1, height * width)):
            raise InputError(f"--calibrate: {dataset.name} holds images of {height}x{width}, but the graph takes a map "
                             f"of {real.map}")
        return _Samples(encode(chosen, like.steps), images=True)
    if steps not in (None, dataset.steps):
        raise InputError(f"--steps: {steps}, but {dataset.name} has {dataset.steps} time steps; leave the option out")
    return _Samples(unpacked(chosen, steps=dataset.steps, neurons=real.map.neurons))


def _stand_in(real: RealNetwork, steps: int, *, classes: int = 1, images: bool = False) -> NetworkSpec:
    """A network of the same input: all that samples have to fit, and random ones depend on."""
    layer = Layer(synapses=Dense(inputs=real.map.neurons, outputs=classes), neuron=CubaLif(threshold=1), rule=Fixed())
    source = Pixels(count=real.map.neurons) if images else Events(map=real.map)
    return NetworkSpec(input=source, layers=(layer,), readout=SpikeCounts(), steps=steps)


def import_nir(path: str | Path, *, weight_bits: int = 16, calibrate: str = RANDOM, samples: int = 20,
               steps: int | None = None, dt: float | None = None, reset: Reset | None = None,
               readout: Statistic | None = None, data_dir: Path | None = None) -> Imported:
    """A network of another tool, in integers, with what that costs.

    Parameters
    ----------
    path
        Its NIR file.
    weight_bits
        Width of a weight, 2..24.
    calibrate
        Samples by which formats are chosen and the cost is measured: random ones, or what names a data set elsewhere.
        Of images the network takes images, which are encoded on chip.
    samples
        How many of them, at most.
    steps
        Time steps of a sample, 1..4096; None: those of the samples, of images 20, otherwise 100.
    dt
        Time step, seconds; None: what the graph's resistances say, or 0.1 ms.
    reset
        What a spike does; None: the potential becomes ``v_reset``, as NIR says.
    readout
        What is read of the last neurons' potentials; None: of neurons that do not spike the maximum, of others their
        spikes are counted.
    data_dir
        Folder of the data set's files.

    Raises
    ------
    InputError
        The file, or something in the graph, cannot be taken over; the message names it.
    """
    path = Path(path)
    found = read_graph(path)
    try:
        ours = restored(found)
        if ours is not None:
            return Imported(model=Model(network=ours, preset=plain_name(path.stem), dataset=RANDOM,
                                        training={"imported": path.name}), cost=None, notes=(), samples=0)
        real = chain_of(found, dt=dt, reset=reset, statistic=readout)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    spikes, images = _calibration(real, calibrate, steps, samples, data_dir)
    try:
        cost = quantised(real, spikes, weight_bits=weight_bits, images=images)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    model = Model(network=cost.network, preset=plain_name(path.stem), dataset=data_name(calibrate),
                  training={"imported": path.name, "notes": list(real.notes),
                            "layers": [layer.to_json() for layer in cost.layers]})
    return Imported(model=model, cost=cost, notes=real.notes, samples=len(spikes))


def export_nir(model: Model, path: str | Path) -> list[str]:
    """Write a network as a NIR graph, for other tools; returns the names of its nodes.

    Raises
    ------
    InputError
        A layer cannot be said in NIR, or the file cannot be written.
    """
    graph = graph_of(model.network)
    write_graph(Path(path), graph)
    return list(graph.nodes)
