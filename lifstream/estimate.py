"""The command estimate: what a network takes of a board, and how fast it is, before anything is built."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lifstream.build import BoardOption
from lifstream.console import Output
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.input import Events
from lifstream.golden.model.network import Network
from lifstream.golden.study.activity import Rates, SampleActivity, measured_activity, random_activity
from lifstream.golden.study.datasets import DATASETS, Split, images_at_hand
from lifstream.golden.study.own_data import RANDOM, load_data
from lifstream.library import model_of_preset
from lifstream.options import (
    DataOption,
    GeometryOptions,
    JsonOption,
    NamedNetwork,
    NetworkOptions,
    WeightBitsOption,
    described,
    named_network,
    named_preset,
    option_groups,
    percent,
)

if TYPE_CHECKING:
    from lifstream.boards.estimate import Capacity, Usage
    from lifstream.boards.targets import Target
    from lifstream.hdl.geometry import Geometry
    from lifstream.hdl.timing import Cycles

__all__ = ["clock_of", "estimate", "fullest", "require_target"]

TargetOption = Annotated[float | None, typer.Option(
    "--target-images-per-second", metavar="N", help="Images to classify per second: as few lanes as reach it.")]

_MOST_WORK = 3e7
"""Synapses times steps that the golden model goes through in some tenths of a second."""
_BITS_PER_BYTE = 10  # on the serial line


@option_groups
def estimate(
    board: BoardOption,
    network: Annotated[str | None, typer.Argument(
        metavar="[NETWORK]", help="A preset, a model file or released model, or a contract FILE.json.")] = None,
    *,
    named: NetworkOptions,
    weight_bits: WeightBitsOption = None,
    folding: GeometryOptions,
    fit: Annotated[bool, typer.Option(
        "--fit", help="Choose the lanes of each layer: as many as fit the board.")] = False,
    target_images_per_second: TargetOption = None,
    clock: Annotated[float | None, typer.Option("--clock", help="Core clock in MHz. Default: the board's.")] = None,
    samples: Annotated[int, typer.Option(
        "--samples", min=1, max=10_000,
        help="Test images from which the network's activity is measured, at most.")] = 50,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate LUTs, flip-flops, block RAMs and clock cycles of a network on a board, in about a second.

    Takes a NETWORK by name, a --preset, --layers or a --spec. How busy its neurons are is measured from a trained model
    where there is one, and otherwise assumed. Exit status 1 when it does not fit the board, or does not reach the speed
    that was asked for.
    """
    from lifstream.boards.estimate import capacity, fmax, total, usage_by_part
    from lifstream.boards.fitting import chosen_lanes
    from lifstream.boards.targets import target_by_name
    from lifstream.hdl.timing import image_cycles

    output = Output(as_json=as_json)
    chosen = _chosen(network, named, weight_bits)
    target = target_by_name(board)
    room, spec = capacity(target), chosen.preset.spec
    choosing = fit or target_images_per_second is not None
    if choosing and folding.lanes is not None:
        raise InputError("--lanes: they are chosen by --fit or --target-images-per-second; give one or the other")
    require_target(target_images_per_second)
    geometry = folding.geometry(spec, target=target)
    clock_mhz = clock_of(clock, target.usual_clock_mhz(spec))
    activity, basis = _activities(chosen, samples, data_dir)
    if choosing:
        most = None if target_images_per_second is None else clock_mhz * 1e6 / target_images_per_second
        geometry = chosen_lanes(spec, target, geometry, activity["infer"], most_cycles=most).geometry
    parts = usage_by_part(spec, geometry, target.family)
    used = total(parts)
    cycles = {task: image_cycles(spec, geometry, each,
                                 rate_shift=chosen.preset.training.rate_shift_at(chosen.epochs)
                                 if task == "train" else None)
              for task, each in activity.items()}
    rates = {task: clock_mhz * 1e6 / each.total for task, each in cycles.items()}
    fits, speed = room.fits(used), fmax(target, spec)
    reached = target_images_per_second is None or rates["infer"] >= target_images_per_second * (1 - 1e-9)
    report: dict[str, Any] = {
        "board": board, "network": chosen.name, "spec_digest": spec.digest(), "geometry": geometry.to_json(),
        "parts": {name: _rounded(part) for name, part in parts.items()}, **_rounded(used),
        "available": {name: available for name, (_, available) in room.shares(used).items()},
        "fits": fits, "bottleneck": fullest(room, used), "clock_mhz": clock_mhz,
        "fmax_mhz": [speed.low, speed.high], "fmax_basis": speed.basis, "activity": basis,
        "cycles_per_image": {task: round(each.total, 1) for task, each in cycles.items()},
        "layers": [{"lanes": layer.lanes, "groups": layer.groups, "row_folds": layer.row_folds,
                    "forward_cycles": round(cycles["infer"].forward[index], 1),
                    "update_cycles": round(cycles["train"].update[index], 1) if "train" in cycles else None}
                   for index, layer in enumerate(geometry.layers(spec))],
        "images_per_second": {task: round(rate, 1) for task, rate in rates.items()},
        "target_reached": reached}
    _show(output, target, chosen, geometry, parts, used, room, cycles, report)
    output.result(report)
    if not fits or not reached:
        raise typer.Exit(1)


def _chosen(network: str | None, named: NetworkOptions, weight_bits: int | None) -> NamedNetwork:
    """The network that is estimated, with its released model if it is a preset that has one."""
    preset = named.instead_of(network, command="estimate", called="NETWORK")
    if preset is not None:
        found = named_preset(preset, weight_bits=weight_bits)
    else:
        found = named_network(network or "", weight_bits=weight_bits).for_dataset(named.dataset)
    if found.model is None:
        model, weights = model_of_preset(found.preset)
        if "released" in weights:
            return replace(found, model=model)
    return found


def require_target(images_per_second: float | None) -> None:
    """Raise InputError when a speed is none."""
    if images_per_second is not None and not (math.isfinite(images_per_second) and images_per_second > 0):
        raise InputError(f"--target-images-per-second: {images_per_second:g} is no speed, give a number above 0")


def clock_of(clock: float | None, usual: float) -> float:
    """The core clock in MHz: what was asked for, or the usual one; raises InputError when that is none."""
    if clock is not None and not (math.isfinite(clock) and 0 < clock <= 1_000):
        raise InputError(f"--clock: {clock:g} MHz is out of bounds, must be above 0 and at most 1000")
    return usual if clock is None else clock


def _images(chosen: NamedNetwork, data_dir: Path | None) -> Split | None:
    """Test images, if they need not be downloaded and fit the network."""
    name = chosen.preset.dataset
    if name in DATASETS:
        found = images_at_hand(name, data_dir=data_dir)
    else:
        found = None if name == RANDOM else load_data(name, data_dir=data_dir, like=chosen.preset.spec).test
    return found if found is not None and found.images.shape[1] == chosen.preset.spec.sample_bytes else None


def _activities(chosen: NamedNetwork, samples: int, data_dir: Path | None
                ) -> tuple[dict[str, list[SampleActivity]], str]:
    """What the network goes through to classify and to learn, and what that is taken from."""
    spec, plan = chosen.preset.spec, chosen.preset.training
    images = _images(chosen, data_dir)
    work = spec.steps * sum(layer.n_in * layer.n_out for layer in spec.layers)
    count = max(4, min(samples, int(_MOST_WORK // work) + 1))
    tasks: dict[str, int | None] = {"infer": None}
    if spec.learns:
        tasks["train"] = plan.rate_shift_at(chosen.epochs)
    if chosen.model is not None and images is not None:
        network = chosen.model.network
        assert isinstance(network, Network)
        found = {task: measured_activity(network, images[:count], rate_shift=rate) for task, rate in tasks.items()}
        basis = f"the trained model on {len(found['infer'])} test images"
        if spec.learns:
            share = sum(each.learnt for each in found["train"]) / len(found["train"])
            basis += f", {percent(share)} of which it learns from"
        return found, basis
    rates = Rates.typical(spec)
    shown = None if images is None or isinstance(spec.input, Events) else images.images
    found = {task: random_activity(spec, rates, images=shown, learning=task == "train") for task in tasks}
    learnt = f", {percent(rates.learnt)} of the samples are learnt from" if spec.learns else ""
    return found, (f"assumed: {percent(rates.layers[0])} of the neurons spike in a step{learnt}; input "
                   f"{'from test images' if shown is not None else 'assumed too'}")


def _rounded(usage: Usage) -> dict[str, int]:
    return {"luts": round(usage.luts), "ffs": round(usage.ffs), "block_rams": usage.block_rams,
            "single_port_rams": usage.single_port_rams}


def fullest(room: Capacity, used: Usage) -> str:
    """The resource of which the largest share is taken."""
    shares = room.shares(used)
    return max(shares, key=lambda name: shares[name][0] / shares[name][1])


def _show(output: Output, target: Target, chosen: NamedNetwork, geometry: Geometry, parts: dict[str, Usage],
          used: Usage, room: Capacity, cycles: dict[str, Cycles], report: dict[str, Any]) -> None:
    from lifstream.hdl.geometry import counted, per_layer_text

    spec = chosen.preset.spec
    output.say(described(chosen.name, chosen.preset.dataset, spec))
    table = Table(title=f"{chosen.name} on {target.title}, estimated", box=None)
    shares = room.shares(used)
    table.add_column("part")
    for name in shares:
        table.add_column(name, justify="right")
    table.add_column("lanes", justify="right")
    table.add_column("clocks per image: forward", justify="right")
    table.add_column("update", justify="right")
    layers = {f"layer {index}": (layer, entry) for index, (layer, entry) in
              enumerate(zip(geometry.layers(spec), report["layers"], strict=True))}
    for name, part in parts.items():
        cells = [f"{value:,.0f}" for value, _ in room.shares(part).values()]
        if name in layers:
            layer, entry = layers[name]
            update = entry["update_cycles"]
            cells += [f"{layer.lanes:,}", f"{entry['forward_cycles']:,.0f}", "" if update is None else f"{update:,.0f}"]
        table.add_row(name, *cells)
    table.add_row("all", *(f"{value:,.0f}" for value, _ in shares.values()), "",
                  f"{cycles['infer'].total:,.0f}", "")
    table.add_row("available", *(f"{available:,}" for _, available in shares.values()))
    table.add_row("share", *(f"{value / available:.0%}" for value, available in shares.values()))
    output.table(table)
    verdict = "fits" if report["fits"] else "does NOT fit"
    used_share = shares[report["bottleneck"]]
    output.say(f"{verdict}; scarcest: {report['bottleneck']}, {used_share[0] / used_share[1]:.0%}; lanes "
               f"{per_layer_text(tuple(layer['lanes'] for layer in report['layers']))}")
    for task, what in (("infer", "classifies"), ("train", "learns from")):
        if task in cycles:
            output.say(f"{what} {report['images_per_second'][task]:,.0f} images/s at {report['clock_mhz']:g} MHz "
                       f"({counted(round(cycles[task].total), 'clock cycle')} each)")
    line = target.baud / _BITS_PER_BYTE / (spec.sample_bytes + 2)
    output.say(f"the serial line brings {line:,.0f} images/s at the most; from a stream beside it the core takes all")
    speed = report["fmax_mhz"]
    output.say(f"fastest clock of like designs: {speed[0]:g} to {speed[1]:g} MHz ({report['fmax_basis']})")
    output.say(f"activity: {report['activity']}")
    if not report["target_reached"]:
        output.say("the speed that was asked for is NOT reached, with as many lanes as neurons")
