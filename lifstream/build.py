"""The commands of bitstreams: build, program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from lifstream.console import Output, error_line
from lifstream.golden.datasets import Dataset, load_dataset
from lifstream.golden.engine import Runner
from lifstream.golden.epochs import EpochStream
from lifstream.golden.files import is_there, make_folder, write_text
from lifstream.golden.model import Model
from lifstream.golden.network import Network
from lifstream.golden.presets import Preset, preset_by_name
from lifstream.golden.spec import InputError
from lifstream.golden.training import Progress
from lifstream.hardware import cosimulate_model
from lifstream.options import DataOption, JsonOption, PresetOption, SeedOption, WeightBitsOption, require_fit
from lifstream.sim.cosim import Segment

if TYPE_CHECKING:
    from lifstream.boards.flow import Build, Resource, Watch
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry

__all__ = ["build", "program"]

BoardOption = Annotated[str, typer.Option("--board", help="Board: ulx3s-85f, icebreaker, tang-nano-9k, arty-a7.")]

_MEASURED_IMAGES = 100
_STEPS = {"generate": "generate", "synthesise": "synthesise", "place": "place and route", "pack": "write the bitstream",
          "count": "count cells"}


def build(
    board: BoardOption,
    preset: PresetOption,
    out: Annotated[Path | None, typer.Option(
        "--out", help="Folder of the build and its logs. Default: build/BOARD-PRESET[-WIDTH-bit].")] = None,
    weight_bits: WeightBitsOption = None,
    lanes: Annotated[int | None, typer.Option(
        "--lanes", help="Neurons updated per clock. Default: the board's.")] = None,
    window: Annotated[int | None, typer.Option(
        "--window", help="Pixels the encoder examines per clock. Default: the board's.")] = None,
    unroll: Annotated[int | None, typer.Option(
        "--unroll", help="Time steps a weight update goes through per clock. Default: the board's.")] = None,
    clock: Annotated[float | None, typer.Option("--clock", help="Core clock in MHz. Default: the board's.")] = None,
    baud: Annotated[int | None, typer.Option(
        "--baud", help="Bits per second of the serial line. Default: the board's.")] = None,
    seed: SeedOption = 1,
    advice: Annotated[bool, typer.Option(
        "--advice/--no-advice", help="When the design does not fit, look for lanes and weights that do.")] = True,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a board's bitstream: synthesise, place, route, pack, report. An interrupted build goes on where it was.

    For boards whose FPGA needs the vendor's tools: write Verilog, constraints and a Tcl script. Exit status 1 when the
    clock is faster than the design allows.
    """
    from lifstream.boards.flow import DoesNotFit, project
    from lifstream.boards.flow import build as build_bitstream
    from lifstream.boards.targets import Family, target_by_name

    output = Output(as_json=as_json)
    target, network = target_by_name(board), preset_by_name(preset).varied(weight_bits=weight_bits)
    geometry = target.geometry(network.spec, lanes=lanes, window=window, unroll=unroll)
    width = "" if weight_bits is None else f"-{weight_bits}-bit"
    folder = make_folder(out or Path("build") / f"{board}-{preset}{width}")
    wanted: dict[str, Any] = {"spec": network.spec, "geometry": geometry, "clock_mhz": clock or target.clock_mhz,
                              "baud": baud or target.baud, "folder": folder}
    if target.family is Family.XILINX:
        with output.progress() as bar:
            files = project(target, watch=_watch(bar), **wanted)
        output.say(f"wrote {', '.join(map(str, files))}; make the bitstream with: "
                   f"cd {folder} && vivado -mode batch -source top.tcl")
        output.result({"board": board, "preset": preset, "files": [str(file) for file in files],
                       "geometry": geometry.to_json(), "spec_digest": network.spec.digest()})
        return
    output.keeps(lambda: f"{folder} keeps the steps that were finished; the same command goes on")
    with output.progress() as bar:
        try:
            made = build_bitstream(target, seed=seed, watch=_watch(bar), **wanted)
        except DoesNotFit as error:
            if not advice:
                raise
            hint = _what_would_fit(target, network, geometry, error.short, folder / "smaller", _watch(bar))
            raise InputError(f"{preset} on {board}: {error}; {hint}") from None
    report = {"board": board, "preset": preset, "spec_digest": network.spec.digest(), "geometry": geometry.to_json(),
              "seed": seed, **made.to_json(), **_speed(network, geometry, made, data_dir, output)}
    write_text(folder / "build.json", json.dumps(report, indent=2) + "\n")
    _show(output, target, made, report)
    output.result(report)
    if not made.timing_met:
        error_line(f"the design allows {made.fmax_mhz:.1f} MHz, not {made.clock_mhz:g}; choose a slower --clock, or "
                   "another --seed")
        raise typer.Exit(1)


def _watch(bar: Any) -> Watch:
    """Show the step under way, how long it has been, and what its tool says."""
    started: dict[str, float] = {}

    def watch(step: str, line: str) -> None:
        begun = started.setdefault(step, time.monotonic())
        note = line.removeprefix("Info: ").strip()[:60]
        bar(Progress(task=_STEPS[step], done=round(time.monotonic() - begun), total=None, note=note))
    return watch


def _what_would_fit(target: Target, network: Preset, geometry: Geometry, short: list[Resource], folder: Path,
                    watch: Watch) -> str:
    """Lanes, or a weight's width, with which the design's cells would be no more than there are: tried, not guessed."""
    from lifstream.boards.flow import lacking

    lanes = geometry.lanes
    used = {resource.name: resource.used for resource in short}
    while lanes > 1:
        smaller = replace(geometry, lanes=lanes // 2)
        short = lacking(target, spec=network.spec, geometry=smaller, folder=folder / f"lanes-{lanes // 2}", watch=watch)
        if not short:
            return f"--lanes {lanes // 2} would"
        before, used = used, {resource.name: resource.used for resource in short}
        if all(used.get(name, 0) >= count for name, count in before.items()):
            break   # as many weights, however few lanes
        lanes //= 2
    for bits in (14, 12, 10, 8):
        if bits < network.spec.weight_bits:
            narrow = network.varied(weight_bits=bits).spec
            if not lacking(target, spec=narrow, geometry=replace(geometry, lanes=lanes),
                           folder=folder / f"bits-{bits}", watch=watch):
                return f"--weight-bits {bits}{f' --lanes {lanes}' if lanes != geometry.lanes else ''} would"
    return "neither fewer lanes nor weights of 8 bits would; choose a smaller network or a larger board"


def _speed(preset: Preset, geometry: Geometry, made: Build, data_dir: Path | None, output: Output) -> dict[str, Any]:
    """Images per second from clock cycles measured in co-simulation, if the tools and the data for it are there."""
    output.begin("measure clock cycles per image")
    try:
        dataset = load_dataset(preset.dataset, data_dir=data_dir)
        require_fit(preset.spec, dataset)
        cycles = _measured_cycles(preset, geometry, dataset, output)
    except InputError as error:
        output.say(f"clock cycles per image not measured: {error}")
        return {"cycles_per_image": None, "images_per_second": None, "epoch_seconds": None}
    hertz = made.clock_mhz * 1e6
    return {"cycles_per_image": cycles,
            "images_per_second": {task: round(hertz / count, 1) for task, count in cycles.items()},
            "epoch_images": len(dataset.train),
            "epoch_seconds": round(len(dataset.train) * cycles["train"] / hertz, 3)}


def _measured_cycles(preset: Preset, geometry: Geometry, dataset: Dataset, output: Output) -> dict[str, float]:
    """Mean cycles to classify test images, and to learn from training images in the middle of the first epoch."""
    network = Network.initial(spec=preset.spec, seed=1)
    plan = preset.training
    stream = EpochStream(dataset=dataset, training=dataset.train, seed=1, epoch=0, shift=plan.shift)
    half = len(dataset.train) // 2
    runner = Runner(network=network)
    for start in range(0, half, 1_000):
        part = stream[start:min(start + 1_000, half)]
        runner.learn(part.images, part.labels, rate_shift=plan.rate_shift_at(0))
    count = min(_MEASURED_IMAGES, half, len(dataset.test))
    model = Model(network=network, preset=preset.name, dataset=dataset.name)
    cycles = {}
    for task, split, segment in (
            ("infer", dataset.test, Segment(split="infer", order=np.arange(count))),
            ("train", stream[half:half + count], Segment(split="train", order=np.arange(count),
                                                         rate_shift=plan.rate_shift_at(0), check_every=count))):
        result = cosimulate_model(model, {task: split}, [segment], output, geometry=geometry, seed=1)
        if not result.bit_exact:
            raise RuntimeError(f"the design differs from the golden model: {result.message}")
        spent = sum(result.counters[f"{phase}_cycles"] for phase in ("load", "forward", "desire", "update"))
        cycles[task] = round(spent / count, 1)
    return cycles


def _show(output: Output, target: Target, made: Build, report: dict[str, Any]) -> None:
    table = Table(title=f"{report['preset']} on {target.title}")
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
        output.say(f"classifies {rates['infer']:,.0f} images/s ({cycles['infer']:.0f} clock cycles each), learns from "
                   f"{rates['train']:,.0f} images/s ({cycles['train']:.0f})")
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
        raise InputError(f"{bitstream}: no such file; make it with: lifstream build --board {board} --preset ...")
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
