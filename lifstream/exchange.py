"""The commands that exchange networks with other tools: import and export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from lifstream.console import Output
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events, Pixels
from lifstream.golden.contract.network import STEPS_MAX, Layer, NetworkSpec
from lifstream.golden.contract.neurons import CubaLif, Reset
from lifstream.golden.contract.readout import SpikeCounts, Statistic
from lifstream.golden.contract.rules import Fixed
from lifstream.golden.contract.synapses import Dense
from lifstream.golden.model.encoder import encode, unpacked
from lifstream.golden.model.network import Network
from lifstream.golden.study.model_files import Model, save_model
from lifstream.golden.study.own_data import RANDOM, data_name, load_data, plain_name, save_spikes
from lifstream.golden.study.real_network import RealNetwork
from lifstream.golden.study.recordings import RecordingFormat, load_recordings
from lifstream.golden.study.training import Progress
from lifstream.library import load
from lifstream.options import DataOption, JsonOption, described, percent, require_file_place

__all__ = ["bin_recordings", "export_network", "import_network"]

_STEPS = 100
_IMAGE_STEPS = 20


class _Samples(NamedTuple):
    """By which formats are chosen."""

    spikes: NDArray[np.bool_]
    """(count, T, inputs)."""
    images: bool = False
    """They are those of images: these are what the network will take."""


def _calibration(real: RealNetwork, place: str, steps: int | None, samples: int, data_dir: Path | None) -> _Samples:
    if place == RANDOM:
        like = _stand_in(real, steps or _STEPS)
        dataset = load_data(RANDOM, like=like)
    else:
        dataset = load_data(place, data_dir=data_dir)
        like = _stand_in(real, dataset.steps or steps or _IMAGE_STEPS, classes=dataset.classes,
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


def import_network(
    graph: Annotated[Path, typer.Argument(metavar="FILE.nir", help="Network in NIR, as snnTorch, SpikingJelly, Norse, "
                                                                   "Sinabs, Rockpool and others export it.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Write the model file here (.npz).")],
    weight_bits: Annotated[int, typer.Option("--weight-bits", min=2, max=24, help="Width of a weight.")] = 16,
    calibrate: Annotated[str, typer.Option(
        "--calibrate", metavar="NAME|FILE.npz|FOLDER",
        help="Samples by which formats are chosen and the report is made: an archive of train_spikes, train_labels, "
             "test_spikes and test_labels; or images, by any name or place that is a --dataset of other commands: the "
             "network then takes images, encoded on chip. Default: random spikes.")] = RANDOM,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Samples of --calibrate to take, at most.")] = 20,
    steps: Annotated[int | None, typer.Option(
        "--steps", min=1, max=STEPS_MAX,
        help=f"Time steps of a sample; default: those of --calibrate, of images {_IMAGE_STEPS}, otherwise {_STEPS}."
    )] = None,
    dt: Annotated[float | None, typer.Option(
        "--dt", help="Time step, seconds; default: what the graph's resistances say (r = tau / dt), or 0.0001."
    )] = None,
    reset: Annotated[Reset | None, typer.Option(
        "--reset", help="What a spike does: 'value' sets the potential to v_reset, as NIR says, the default; "
                        "'subtract' takes the threshold off, as networks of several exporters mean it.")] = None,
    readout: Annotated[Statistic | None, typer.Option(
        "--readout", help="What is read of the last neurons' membrane potentials over a sample; default: of neurons "
                          "that do not spike (LI, CubaLI, I) the maximum, of others their spikes are counted.")] = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a network over that was trained elsewhere, in integers, with a report of what that costs.

    The model file runs in every command that takes one: bit-exact from the golden model to the gates. Its weights do
    not change on chip.
    """
    from lifstream.golden.study.nir_export import restored
    from lifstream.golden.study.nir_graph import chain_of, read_graph
    from lifstream.golden.study.quantise import quantised

    output = Output(as_json=as_json)
    require_file_place(out)
    found = read_graph(graph)
    try:
        ours = restored(found)
        real = chain_of(found, dt=dt, reset=reset, statistic=readout) if ours is None else None
    except InputError as error:
        raise InputError(f"{graph}: {error}") from None
    if real is None:
        assert ours is not None
        _take_back(graph, ours, out, output)
        return
    spikes, images = _calibration(real, calibrate, steps, samples, data_dir)
    try:
        result = quantised(real, spikes, weight_bits=weight_bits, images=images)
    except InputError as error:
        raise InputError(f"{graph}: {error}") from None
    network = result.network
    save_model(out, Model(
        network=network, preset=plain_name(graph.stem), dataset=data_name(calibrate),
        training={"imported": graph.name, "notes": list(real.notes),
                  "layers": [layer.to_json() for layer in result.layers]}))
    table = Table(title=f"{escape(graph.name)}: {network.spec.summary}, {network.spec.parameters:,} weights")
    for column in ("layer", "weights", "format", "potential", "decay", "saturated", "largest error",
                   "changed"):
        table.add_column(column, justify="left" if column in ("layer", "format", "decay") else "right")
    for layer in result.layers:
        decay = layer.potential_decay if layer.current_decay is None else \
            f"{layer.potential_decay}, current {layer.current_decay}"
        share = percent(layer.changed / layer.spikes) if layer.spikes else "none"
        changed = f"{layer.changed:,} of {layer.spikes:,} ({share})" if layer.potential_error is None else \
            f"{result.network.spec.readout.response} off by {layer.potential_error:.2g} at most"
        table.add_row(escape(layer.name), f"{layer.weights:,}",
                      f"{layer.weight_bits} bits, {layer.weight_fraction} fraction",
                      f"{layer.membrane_bits} bits", decay, f"{layer.saturated:,}", f"{layer.largest_error:.2g}",
                      changed)
    output.table(table)
    for note in real.notes:
        output.say(note)
    output.say(f"{len(spikes)} samples of {spikes.shape[1]} steps, {data_name(calibrate)}; errors are in units of the "
               f"threshold, or where nothing fires of the graph's potentials. {result.answers_changed} of the samples "
               f"are answered differently than in real numbers. Wrote {out}")
    output.result({"out": str(out), "spec_digest": network.spec.digest(), "digest": network.digest(),
                   "steps": network.spec.steps, "samples": len(spikes), "calibrated_on": data_name(calibrate),
                   "answers_changed": result.answers_changed, "notes": list(real.notes),
                   "layers": [layer.to_json() for layer in result.layers]})


def _take_back(graph: Path, network: Network, out: Path, output: Output) -> None:
    """A network of ours comes home: as it was, to the bit."""
    save_model(out, Model(network=network, preset=plain_name(graph.stem), dataset=RANDOM,
                          training={"imported": graph.name}))
    output.say(f"{graph.name} was exported from here: {network.spec.summary}, {network.spec.parameters:,} weights, "
               f"taken back as they were, digest {network.digest()}. Wrote {out}")
    output.result({"out": str(out), "spec_digest": network.spec.digest(), "digest": network.digest(),
                   "restored": True})


def export_network(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, or a released model.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Write the graph here (.nir).")],
    as_json: JsonOption = False,
) -> None:
    """Write a network as a NIR graph, for other tools.

    Weights are in units of 1, the time step is 0.1 ms. What NIR cannot say (formats, resets by subtraction, a threshold
    that is reached and not exceeded, the rule) is in the graph's metadata: 'lifstream import' gives the very same
    network back.
    """
    from lifstream.golden.study.nir_export import graph_of
    from lifstream.golden.study.nir_graph import write_graph

    output = Output(as_json=as_json)
    require_file_place(out)
    loaded = load(model)
    network = loaded.network
    try:
        graph = graph_of(network)
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    write_graph(out, graph)
    output.say(f"{described(loaded.preset, loaded.dataset, network.spec)}: {len(graph.nodes)} nodes. Wrote {out}")
    output.result({"out": str(out), "nodes": len(graph.nodes), "spec_digest": network.spec.digest(),
                   "digest": network.digest()})


def bin_recordings(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the recordings are.")],
    *,
    form: Annotated[RecordingFormat, typer.Option("--format", help="Whose recordings they are.")],
    steps: Annotated[int, typer.Option("--steps", min=1, max=STEPS_MAX, help="Time steps of a sample.")],
    out: Annotated[Path, typer.Option("--out", help="Write the archive here (.npz): a --dataset for other commands.")],
    seconds: Annotated[float | None, typer.Option(
        "--seconds", help="Time that the steps span; default: 0.3 of N-MNIST, 1.5 of DVS Gesture, 1 of SHD.")] = None,
    scale: Annotated[int, typer.Option(
        "--scale", min=1, help="Pixels, down and right, that become one; of SHD 1.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Sort recordings of event sensors into time steps: N-MNIST, DVS128 Gesture, Spiking Heidelberg Digits.

    A neuron spikes in a step if any of its events falls into it.
    """
    output = Output(as_json=as_json)
    require_file_place(out)
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds: {seconds} is no time; give one above 0")
    with output.progress() as bar:
        dataset = load_recordings(
            folder, form, steps=steps, seconds=seconds, scale=scale,
            report=lambda part, done: bar(Progress(task=f"read {part}", done=done, total=None)))
    save_spikes(out, dataset)
    events = float(np.bitwise_count(dataset.train.images).sum()) / len(dataset.train)
    output.say(f"{form}: {len(dataset.train):,} training and {len(dataset.test):,} test samples of {steps} steps, "
               f"{dataset.height}x{dataset.width}x{dataset.channels} neurons, {events:,.0f} spikes in a training "
               f"sample. Wrote {out}")
    output.result({"out": str(out), "training": len(dataset.train), "test": len(dataset.test), "steps": steps,
                   "height": dataset.height, "width": dataset.width, "channels": dataset.channels,
                   "spikes_per_sample": events})
