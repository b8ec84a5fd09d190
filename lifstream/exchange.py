"""The commands that exchange networks with other tools: import and export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from lifstream.console import Output
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import STEPS_MAX
from lifstream.golden.contract.neurons import Reset
from lifstream.golden.contract.readout import Statistic
from lifstream.golden.study.nir_import import IMAGE_STEPS, STEPS, export_nir, import_nir
from lifstream.golden.study.own_data import RANDOM, save_spikes
from lifstream.golden.study.recordings import RecordingFormat, load_recordings
from lifstream.golden.study.training import Progress
from lifstream.library import load, save
from lifstream.options import DataOption, JsonOption, described, percent, require_file_place

__all__ = ["bin_recordings", "export_network", "import_network"]


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
        help=f"Time steps of a sample; default: those of --calibrate, of images {IMAGE_STEPS}, otherwise {STEPS}."
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
    output = Output(as_json=as_json)
    require_file_place(out)
    found = import_nir(graph, weight_bits=weight_bits, calibrate=calibrate, samples=samples, steps=steps, dt=dt,
                       reset=reset, readout=readout, data_dir=data_dir)
    save(found.model, out)
    network, result = found.model.network, found.cost
    if result is None:
        output.say(f"{graph.name} was exported from here: {network.spec.summary}, {network.spec.parameters:,} weights, "
                   f"taken back as they were, digest {network.digest()}. Wrote {out}")
        output.result({"out": str(out), "spec_digest": network.spec.digest(), "digest": network.digest(),
                       "restored": True})
        return
    table = Table(title=f"{escape(graph.name)}: {network.spec.summary}, {network.spec.parameters:,} weights")
    for column in ("layer", "weights", "format", "potential", "decay", "saturated", "largest error",
                   "changed"):
        table.add_column(column, justify="left" if column in ("layer", "format", "decay") else "right")
    for layer in result.layers:
        decay = layer.potential_decay if layer.current_decay is None else \
            f"{layer.potential_decay}, current {layer.current_decay}"
        share = percent(layer.changed / layer.spikes) if layer.spikes else "none"
        changed = f"{layer.changed:,} of {layer.spikes:,} ({share})" if layer.potential_error is None else \
            f"{network.spec.readout.response} off by {layer.potential_error:.2g} at most"
        table.add_row(escape(layer.name), f"{layer.weights:,}",
                      f"{layer.weight_bits} bits, {layer.weight_fraction} fraction",
                      f"{layer.membrane_bits} bits", decay, f"{layer.saturated:,}", f"{layer.largest_error:.2g}",
                      changed)
    output.table(table)
    for note in found.notes:
        output.say(note)
    output.say(f"{found.samples} samples of {network.spec.steps} steps, {found.model.dataset}; errors are in units of "
               f"the threshold, or where nothing fires of the graph's potentials. {result.answers_changed} of the "
               f"samples are answered differently than in real numbers. Wrote {out}")
    output.result({"out": str(out), "spec_digest": network.spec.digest(), "digest": network.digest(),
                   "steps": network.spec.steps, "samples": found.samples, "calibrated_on": found.model.dataset,
                   "answers_changed": result.answers_changed, "notes": list(found.notes),
                   "layers": [layer.to_json() for layer in result.layers]})


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
    output = Output(as_json=as_json)
    require_file_place(out)
    loaded = load(model)
    network = loaded.network
    try:
        nodes = export_nir(loaded, out)
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    output.say(f"{described(loaded.preset, loaded.dataset, network.spec)}: {len(nodes)} nodes. Wrote {out}")
    output.result({"out": str(out), "nodes": len(nodes), "spec_digest": network.spec.digest(),
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
