"""The commands of bitstreams: build, program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from lifstream.console import Output, error_line
from lifstream.extras import Extra, require
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.files import is_there, make_folder, write_text
from lifstream.golden.study.datasets import Dataset
from lifstream.golden.study.epochs import EpochStream
from lifstream.golden.study.model_files import Model
from lifstream.golden.study.own_data import load_data
from lifstream.golden.study.presets import Preset
from lifstream.golden.study.training import Progress, usual_engine
from lifstream.golden.twin.engine import Runner
from lifstream.hardware import cosimulate_model
from lifstream.library import build_bitstream
from lifstream.options import (
    DataOption,
    GeometryOptions,
    JsonOption,
    NamedNetwork,
    NetworkOptions,
    OptionalModel,
    SeedOption,
    WeightBitsOption,
    named_model,
    named_preset,
    option_groups,
)
from lifstream.sim.cosim import Segment

if TYPE_CHECKING:
    from lifstream.boards.flow import Build, Resource, Watch
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry, PerLayer

__all__ = ["build", "program"]

BoardOption = Annotated[str, typer.Option("--board", help="Board: ulx3s-85f, icebreaker, tang-nano-9k, arty-a7.")]

_MEASURED_IMAGES = 100
_STEPS = {"generate": "generate", "synthesise": "synthesise", "place": "place and route", "pack": "write the bitstream",
          "count": "count cells"}


@option_groups
def build(
    board: BoardOption,
    model: OptionalModel = None,
    *,
    named: NetworkOptions,
    out: Annotated[Path | None, typer.Option(
        "--out", help="Folder of the build and its logs. Default: build/BOARD-PRESET[-WIDTH-bit], of a model "
                      "build/BOARD-FILE.")] = None,
    weight_bits: WeightBitsOption = None,
    folding: GeometryOptions,
    clock: Annotated[float | None, typer.Option(
        "--clock", help="Core clock in MHz. Default: the board's, slower for layers of maps.")] = None,
    baud: Annotated[int | None, typer.Option(
        "--baud", help="Bits per second of the serial line. Default: the board's.")] = None,
    seed: SeedOption = 1,
    advice: Annotated[bool, typer.Option(
        "--advice/--no-advice", help="When the design does not fit, look for lanes and weights that do.")] = True,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a board's bitstream: synthesise, place, route, pack, report. An interrupted build goes on where it was.

    Takes a MODEL, a --preset, --layers or a --spec. A bitstream holds no weights: the host loads them.

    For boards whose FPGA needs the vendor's tools: write Verilog, constraints and a Tcl script. Exit status 1 when the
    clock is faster than the design allows.
    """
    require(Extra.BOARDS)
    from lifstream.boards.flow import DoesNotFit, project
    from lifstream.boards.targets import Family, target_by_name

    output = Output(as_json=as_json)
    preset = named.instead_of(model, command="build")
    if model is not None and weight_bits is not None:
        raise InputError("--weight-bits: a MODEL has its own width; use --preset or --layers, or train "
                         "the model with this option")
    target = target_by_name(board)
    network = named_preset(preset, weight_bits=weight_bits) if preset is not None else \
        named_model(model or "").for_dataset(named.dataset)
    spec = network.preset.spec
    geometry = folding.geometry(spec, target=target)
    width = "" if weight_bits is None else f"-{weight_bits}-bit"
    folder = make_folder(out or Path("build") / f"{board}-{network.name}{width}")
    wanted: dict[str, Any] = {"geometry": geometry, "clock_mhz": clock or target.usual_clock_mhz(spec),
                              "baud": baud or target.baud, "folder": folder}
    if target.family is Family.XILINX:
        with output.progress() as bar:
            files = project(target, spec=spec, watch=_watch(bar), **wanted)
        output.say(f"wrote {', '.join(map(str, files))}; make the bitstream with: "
                   f"cd {folder} && vivado -mode batch -source top.tcl")
        output.result({"board": board, **_named(network), "files": [str(file) for file in files],
                       "geometry": geometry.to_json(), "spec_digest": spec.digest()})
        return
    output.keeps(lambda: f"{folder} keeps the steps that were finished; the same command goes on")
    with output.progress() as bar:
        try:
            made = build_bitstream(spec, target, seed=seed, watch=_watch(bar), **wanted)
        except DoesNotFit as error:
            if not advice:
                raise
            hint = _what_would_fit(target, network, geometry, error.short, folder / "smaller", _watch(bar))
            raise InputError(f"{network.name} on {board}: {error}; {hint}") from None
    report = {"board": board, **_named(network), "spec_digest": spec.digest(), "geometry": geometry.to_json(),
              "seed": seed, **made.to_json(), **_speed(network, geometry, made, data_dir, output)}
    write_text(folder / "build.json", json.dumps(report, indent=2) + "\n")
    _show(output, target, network.name, made, report)
    output.result(report)
    if not made.timing_met:
        error_line(f"the design allows {made.fmax_mhz:.1f} MHz, not {made.clock_mhz:g}; choose a slower --clock, or "
                   "another --seed")
        raise typer.Exit(1)


def _named(network: NamedNetwork) -> dict[str, Any]:
    """For the report: the preset, and the model's digest if it is one."""
    return {"preset": network.preset.name, "model": None if network.model is None else network.model.network.digest()}


def _watch(bar: Any) -> Watch:
    """Show the step under way, how long it has been, and what its tool says."""
    started: dict[str, float] = {}

    def watch(step: str, line: str) -> None:
        begun = started.setdefault(step, time.monotonic())
        note = line.removeprefix("Info: ").strip()[:60]
        bar(Progress(task=_STEPS[step], done=round(time.monotonic() - begun), total=None, note=note))
    return watch


_ADVISED_BITS = (14, 12, 10, 8)


def _what_would_fit(target: Target, network: NamedNetwork, geometry: Geometry, short: list[Resource], folder: Path,
                    watch: Watch) -> str:
    """Fewer lanes, a narrower weight, or both, with which the design's cells are no more than there are.

    Each is tried, not guessed; never what was asked for, nor a contract that would be refused. A model's width is its
    own, so a narrower one has to be trained.
    """
    from lifstream.boards.flow import lacking
    from lifstream.hdl.geometry import per_layer_text

    spec = network.preset.spec
    choices = _halvings(spec, geometry.lanes)

    def lacks(spec: NetworkSpec, choice: int) -> list[Resource]:
        lanes = choices[choice]
        return lacking(target, spec=spec, geometry=replace(geometry, lanes=lanes),
                       folder=folder / f"{spec.weight_widths}-bit-lanes-{per_layer_text(lanes)}", watch=watch)

    def halved(spec: NetworkSpec, choice: int, short: list[Resource]) -> tuple[int, bool]:
        """Fewer lanes, while something is short and that helps; whether nothing is."""
        while short and choice + 1 < len(choices):
            choice, used = choice + 1, {resource.name: resource.used for resource in short}
            short = lacks(spec, choice)
            left = {resource.name: resource.used for resource in short}
            if all(left.get(name, 0) >= count for name, count in used.items()):
                break   # as many weights, however few lanes
        return choice, not short

    choice, fits = halved(spec, 0, short)
    if fits:
        return f"--lanes {per_layer_text(choices[choice])} would"
    narrower = _narrower(network.preset)
    for bits, narrow in narrower.items():
        choice, fits = halved(narrow, choice, lacks(narrow, choice))
        if not fits:
            continue
        while choice > 0 and not lacks(narrow, choice - 1):     # no fewer lanes than it needs
            choice -= 1
        fewer = f"--lanes {per_layer_text(choices[choice])}" if choice > 0 else ""
        if network.model is not None:
            return f"a model trained with --weight-bits {bits} would" + (f", with {fewer}" if fewer else "")
        return f"--weight-bits {bits} {fewer}".rstrip() + " would"
    tried = ["fewer lanes"] if len(choices) > 1 else []
    tried += [f"weights of {min(narrower)} bits"] if narrower else []
    verdict = ("there is nothing to save on", "{} would not", "neither {} nor {} would")[len(tried)].format(*tried)
    return f"{verdict}; train a smaller network (lifstream train --hidden), or choose a larger board"


def _halvings(spec: NetworkSpec, asked: PerLayer) -> list[PerLayer]:
    """The lanes that were asked for, and half of them again and again, down to one in every layer."""
    if isinstance(asked, int):
        several: list[tuple[int, ...]] = [(min(asked, spec.widest),)]   # more lanes than neurons are none
    else:
        several = [tuple(map(min, asked, (layer.n_out for layer in spec.layers)))]
    while max(several[-1]) > 1:
        several.append(tuple(max(1, lanes // 2) for lanes in several[-1]))
    return [lanes[0] if isinstance(asked, int) else lanes for lanes in several]


def _narrower(preset: Preset) -> dict[int, NetworkSpec]:
    """Contracts of the preset with narrower weights, by their width; one that is refused is left out."""
    found = {}
    for bits in _ADVISED_BITS:
        if bits < max(layer.formats.weight_bits for layer in preset.spec.layers):
            with suppress(InputError):
                found[bits] = preset.varied(weight_bits=bits).spec
    return found


def _speed(network: NamedNetwork, geometry: Geometry, made: Build, data_dir: Path | None,
           output: Output) -> dict[str, Any]:
    """Images per second from clock cycles measured in co-simulation, if the tools and the data for it are there."""
    output.begin("measure clock cycles per image")
    try:
        dataset = load_data(network.preset.dataset, data_dir=data_dir, like=network.preset.spec)
        dataset.require_fit(network.preset.spec)
        cycles = _measured_cycles(network, geometry, dataset, output)
    except InputError as error:
        output.say(f"clock cycles per image not measured: {error}")
        return {"cycles_per_image": None, "images_per_second": None, "epoch_seconds": None}
    hertz = made.clock_mhz * 1e6
    rates = {task: round(hertz / count, 1) for task, count in cycles.items()}
    epoch = round(len(dataset.train) * cycles["train"] / hertz, 3) if "train" in cycles else None
    return {"cycles_per_image": cycles, "images_per_second": rates, "epoch_images": len(dataset.train),
            "epoch_seconds": epoch}


def _measured_cycles(named: NamedNetwork, geometry: Geometry, dataset: Dataset, output: Output) -> dict[str, float]:
    """Mean cycles to classify test images and, where weights change, to learn from training images.

    A model has its own weights, and learns in its next epoch; a preset is in the middle of its first.
    """
    network, plan, epoch = named.network(1), named.preset.training, named.epochs
    stream = EpochStream(dataset=dataset, training=dataset.train, seed=1, epoch=epoch, shift=plan.shift,
                         mirror=plan.mirror)
    half = len(dataset.train) // 2
    if named.model is None and network.spec.learns:
        runner = Runner(network=network, engine=usual_engine())
        for start in range(0, half, 1_000):
            part = stream[start:min(start + 1_000, half)]
            runner.learn(part.images, part.labels, rate_shift=plan.rate_shift_at(epoch))
    count = min(_MEASURED_IMAGES, half, len(dataset.test))
    model = Model(network=network, preset=named.preset.name, dataset=dataset.name)
    tasks = [("infer", dataset.test, Segment(split="infer", order=np.arange(count)))]
    if network.spec.learns:
        tasks.append(("train", stream[half:half + count], Segment(
            split="train", order=np.arange(count), rate_shift=plan.rate_shift_at(epoch), check_every=count)))
    cycles = {}
    for task, split, segment in tasks:
        result = cosimulate_model(model, {task: split}, [segment], output, geometry=geometry)
        if not result.bit_exact:
            raise RuntimeError(f"the design differs from the golden model: {result.message}")
        spent = sum(result.counters[f"{phase}_cycles"] for phase in ("load", "forward", "desire", "update"))
        cycles[task] = round(spent / count, 1)
    return cycles


def _show(output: Output, target: Target, name: str, made: Build, report: dict[str, Any]) -> None:
    table = Table(title=f"{name} on {target.title}")
    for column in ("what", "used", "available", "share"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, resource in (("LUTs", made.luts), ("flip-flops", made.ffs), ("block RAMs", made.block_rams),
                           ("multipliers", made.multipliers), *((each.name, each) for each in made.further)):
        table.add_row(name, f"{resource.used:,}", f"{resource.available:,}", f"{resource.fraction:.0%}")
    output.table(table)
    output.say(f"clock {made.clock_mhz:g} MHz, fastest {made.fmax_mhz:.1f} MHz: timing "
               f"{'met' if made.timing_met else 'NOT met'}")
    if report["cycles_per_image"]:
        cycles, rates = report["cycles_per_image"], report["images_per_second"]
        learns = f", learns from {rates['train']:,.0f} images/s ({cycles['train']:.0f})" if "train" in rates else ""
        output.say(f"classifies {rates['infer']:,.0f} images/s ({cycles['infer']:.0f} clock cycles each){learns}")
        if learns:
            output.say(f"one epoch of {report['epoch_images']:,} images: {report['epoch_seconds']:.2f} s")
    output.say("slowest path: " + " -> ".join(f"{name} {delay:.2f} ns" for name, delay in made.critical_path))
    output.say(f"bitstream {made.bitstream}; took " + ", ".join(
        f"{_STEPS[step]} {seconds:.0f} s" for step, seconds in made.seconds.items()))


def program(
    board: BoardOption,
    bitstream: Annotated[Path, typer.Argument(metavar="BITSTREAM", help="File that 'lifstream build' wrote.")],
    flash: Annotated[bool, typer.Option("--flash", help="Write to flash, to be there after power-on.")] = False,
) -> None:
    """Load a bitstream into a board with openFPGALoader."""
    from lifstream.boards.targets import target_by_name

    target = target_by_name(board)
    if not is_there(bitstream) or not bitstream.is_file():
        raise InputError(f"{bitstream}: no such file; make it with: lifstream build --board {board} ...")
    loader = os.environ.get("OPENFPGALOADER") or shutil.which("openFPGALoader")
    if not loader:
        raise InputError("openFPGALoader: not found; install it (Debian: apt install openfpgaloader), or name it in "
                         "$OPENFPGALOADER")
    try:
        done = subprocess.run([loader, "-b", target.loader, *(["-f"] if flash else []), str(bitstream)], check=False)
    except OSError as error:
        raise InputError(f"{loader}: cannot be run ({error.strerror}); name another in $OPENFPGALOADER") from None
    if done.returncode:
        error_line(f"openFPGALoader failed with exit status {done.returncode}; is the board plugged in?")
        raise typer.Exit(1)
