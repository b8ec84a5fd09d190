"""Writes the simulation harness for a design from its ``NAME.v.json``.

The harness is plain Verilog around the design: memories that play payloads into every input stream,
memories that capture every output stream, random stalls on both sides, and a stream-rule monitor on
every stream, inside ones included. Python loads and dumps the memories by file, a batch at a time,
and takes no part in single clock cycles.

Spike streams inside the design are captured as one word per step, a bit per neuron; membrane
potentials as one word per slice. The upper 32 bits of every captured word are its clock cycle since ``go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BENCH_VARIABLE", "CLOCK_NS", "CYCLE_BITS", "DUT", "CaptureMemory", "Harness", "StimulusMemory",
           "membrane_word", "write_harness", "write_pin_harness"]

BENCH_VARIABLE = "LIFSTREAM_BENCH"
"""Environment variable through which a bench finds its configuration file."""

DUT = "harness.dut"
"""Scope of the design in a waveform."""

CLOCK_NS = 10
"""Nanoseconds of a clock cycle."""

CYCLE_BITS = 32
"""Width of the clock cycle above every captured word."""


@dataclass(frozen=True, kw_only=True)
class StimulusMemory:
    """Payloads played into an input stream; file ``<name>.stimulus.hex``."""

    name: str
    width: int
    depth: int


@dataclass(frozen=True, kw_only=True)
class CaptureMemory:
    """Words captured from the design; file ``<name>.capture.hex``."""

    name: str
    width: int
    depth: int


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Verilog text of the harness, its public signals, and the memories behind it."""

    verilog: str
    control_file: str
    """Verilator control file: what Python may touch, and waivers."""
    stimuli: tuple[StimulusMemory, ...]
    captures: tuple[CaptureMemory, ...]
    monitors: tuple[str, ...]
    """Names of the monitored streams, in the order of the ``violations`` bits."""


_OF_MAPS = ("position", "marker")

_PUBLIC = ("clk", "rst", "load", "dump", "go", "finished", "stall_mode", "stall_seed", "cycle",
           "violations", "overflow")

_SOURCE = """
  // ---- input stream {name}
  reg [{msb}:0] {name}_memory [0:{last}];
  reg [31:0] {name}_count = 0;
  reg [31:0] {name}_sent = 0;
  reg {name}_valid = 0;
  reg [{msb}:0] {name}_payload = 0;
  wire {name}_ready;
  wire {name}_stall;
  stall_source #(.SALT({salt})) {name}_stalls (.clk(clk), .rst(rst), .mode(stall_mode), .seed(stall_seed),
    .waiting(1'b1), .stall({name}_stall));
  always @(posedge clk) begin
    if (rst | ~go) begin
      {name}_valid <= 0;
      {name}_sent <= 0;
    end else if (~{name}_valid | {name}_ready) begin
      {name}_valid <= ({name}_sent < {name}_count) & ~{name}_stall;
      {name}_payload <= 0;
      if (({name}_sent < {name}_count) & ~{name}_stall) begin
        {name}_payload <= {name}_memory[{name}_sent];
        {name}_sent <= {name}_sent + 1;
      end
    end
  end
"""

_SINK = """
  // ---- output stream {name}
  reg [{word_msb}:0] {name}_memory [0:{last}];
  reg [31:0] {name}_captured = 0;
  reg [31:0] {name}_expected = 0;  // transfers awaited
  wire {name}_valid;
  wire [{msb}:0] {name}_payload;
  wire {name}_stall;
  wire {name}_ready = go & ~{name}_stall;
  stall_source #(.SALT({salt})) {name}_stalls (.clk(clk), .rst(rst), .mode(stall_mode), .seed(stall_seed),
    .waiting({name}_waiting), .stall({name}_stall));
  reg {name}_waiting = 0;  // a transfer was on offer in the last cycle
  always @(posedge clk) begin
    {name}_waiting <= {name}_valid & ~{name}_ready;
    if (rst | ~go) {name}_captured <= 0;
    else if ({name}_valid & {name}_ready) begin
      {name}_memory[{name}_captured] <= {{cycle, {name}_payload}};
      {name}_captured <= {name}_captured + 1;
    end
  end
"""

_TAP = """
  // ---- spikes on {path}: a word per step, {{sample end, a bit per neuron}}
  reg [{word_msb}:0] tap_{name}_memory [0:{last}];
  reg [31:0] tap_{name}_captured = 0;
  reg [{neurons_msb}:0] tap_{name}_spikes = 0;
  reg tap_{name}_twice = 0;
  wire tap_{name}_fire = dut.{path}__valid & dut.{path}__ready;
  wire [1:0] tap_{name}_kind = dut.{path}__payload[{kind_msb}:{kind_lsb}];
  wire [{index_msb}:0] tap_{name}_neuron = dut.{path}__payload[{neuron_msb}:{neuron_lsb}];
  always @(posedge clk) begin
    if (rst | ~go) begin
      tap_{name}_captured <= 0;
      tap_{name}_spikes <= 0;
      tap_{name}_twice <= 0;
    end else if (tap_{name}_fire) begin
      if (tap_{name}_kind == 0) begin
        tap_{name}_spikes[tap_{name}_neuron] <= 1;
        if (tap_{name}_neuron > {neurons_msb}) tap_{name}_twice <= 1;
        else if (tap_{name}_spikes[tap_{name}_neuron]) tap_{name}_twice <= 1;
      end else if (tap_{name}_kind != 2'd3) begin
        tap_{name}_memory[tap_{name}_captured] <= {{cycle, tap_{name}_kind == 2'd2, tap_{name}_spikes}};
        tap_{name}_captured <= tap_{name}_captured + 1;
        tap_{name}_spikes <= 0;
      end
    end
  end
"""

_DESIRES = """
  // ---- desires on {path}: a word per transfer
  reg [{msb}:0] tap_{name}_memory [0:{last}];
  reg [31:0] tap_{name}_captured = 0;
  always @(posedge clk) begin
    if (rst | ~go) tap_{name}_captured <= 0;
    else if (dut.{path}__valid & dut.{path}__ready) begin
      tap_{name}_memory[tap_{name}_captured] <= {{cycle, dut.{path}__payload}};
      tap_{name}_captured <= tap_{name}_captured + 1;
    end
  end
"""

_MEMBRANE = """
  // ---- membrane potentials of layer {layer}: a word per slice, group 0 lowest; of a map, position and marker above
  reg [{msb}:0] membrane_{layer}_memory [0:{last}];
  reg [31:0] membrane_{layer}_captured = 0;
  always @(posedge clk) begin
    if (rst | ~go) membrane_{layer}_captured <= 0;
    else if (dut.{valid}) begin
      membrane_{layer}_memory[membrane_{layer}_captured] <= {{cycle, {signals}}};
      membrane_{layer}_captured <= membrane_{layer}_captured + 1;
    end
  end
"""

_MONITOR = """  stream_monitor #(.WIDTH({width})) monitor_{index} (.clk(clk), .rst(rst),
    .valid({valid}), .ready({ready}), .payload({payload}), .violated(rule_{index}));
  wire rule_{index};
"""

_RECORD = """  reg record = 0;
  always @(posedge record) begin
    $dumpfile("{file}");
    $dumpvars(0, harness);
  end
"""

_LIBRARY = """
// Stalls for one side of a stream. mode 0: none; 1: random bursts; 2: a sink is ready only after valid
// was seen (this deadlocks a design whose valid waits for ready); 3: mostly stalled.
module stall_source #(parameter SALT = 1) (input clk, input rst, input [1:0] mode, input [31:0] seed,
                                           input waiting, output stall);
  reg [31:0] state = 1;
  reg [4:0] burst = 0;
  wire [31:0] a = state ^ (state << 13);
  wire [31:0] b = a ^ (a >> 17);
  wire [31:0] c = b ^ (b << 5);
  always @(posedge clk) begin
    if (rst) begin
      state <= (seed ^ (SALT * 32'h9E3779B9)) | 32'd1;
      burst <= 0;
    end else begin
      state <= c;
      if (burst != 0) burst <= burst - 1;
      else if (mode == 1 & c[2:0] == 0) burst <= c[12:8];
      else if (mode == 3 & c[1:0] != 0) burst <= {1'b0, c[11:8]};
    end
  end
  assign stall = mode == 2 ? ~waiting : burst != 0;
endmodule

// The stream rules: once valid, a transfer stays valid and its payload does not change until it is taken.
module stream_monitor #(parameter WIDTH = 1) (input clk, input rst, input valid, input ready,
                                              input [WIDTH-1:0] payload, output reg violated);
  reg waiting = 0;
  reg [WIDTH-1:0] offered = 0;
  initial violated = 0;
  always @(posedge clk) begin
    if (rst) begin
      waiting <= 0;
      violated <= 0;
    end else begin
      if (waiting & (valid !== 1'b1 | payload !== offered)) violated <= 1;
      if (valid & ^payload === 1'bx) violated <= 1;
      if (valid !== 1'b0 & valid !== 1'b1) violated <= 1;
      waiting <= valid & ~ready;
      offered <= payload;
    end
  end
endmodule
"""


def membrane_word(membrane: dict[str, Any]) -> int:
    """Bits of a captured slice of membrane potentials: one per group, and in a map position and marker."""
    widths = [membrane["width"]] * len(membrane["signals"])
    return sum([*widths, *(membrane[name]["width"] for name in _OF_MAPS if name in membrane)])


def _membrane_capture(membrane: dict[str, Any], word: int, depth: int) -> str:
    """Verilog that captures a layer's slices of membrane potentials, ``depth`` words of ``word`` bits."""
    signals = [*membrane["signals"], *(membrane[name]["path"] for name in _OF_MAPS if name in membrane)]
    return _MEMBRANE.format(layer=membrane["layer"], msb=word - 1, last=depth - 1, valid=membrane["valid"],
                            signals=", ".join(f"dut.{signal}" for signal in reversed(signals)))


def write_harness(description: dict[str, Any], *, samples: int, stimulus_depth: int,
                  capture_depth: int, record: str | None = None) -> Harness:
    """Write the harness of a design.

    Parameters
    ----------
    description
        Content of ``NAME.v.json``.
    samples
        Images per batch; sets the depth of the captures inside a network.
    stimulus_depth, capture_depth
        Depth of the memories of the outer streams, in transfers.
    record
        Waveform that is written from the moment on at which the signal ``record`` rises.
    """
    spec = description.get("spec")
    steps = spec["steps"] if spec else 0
    stimuli: list[StimulusMemory] = []
    captures: list[CaptureMemory] = []
    monitors: list[str] = []
    connections: list[str] = []
    body = loads = dumps = monitor_text = ""

    def monitor(name: str, prefix: str, joint: str, width: int) -> None:
        nonlocal monitor_text
        monitor_text += _MONITOR.format(
            index=len(monitors), width=width, valid=f"{prefix}{joint}valid", ready=f"{prefix}{joint}ready",
            payload=f"{prefix}{joint}payload")
        monitors.append(name)

    def capture(name: str, width: int, depth: int) -> None:
        nonlocal dumps
        captures.append(CaptureMemory(name=name, width=width, depth=depth))
        dumps += (f'    if ({name}_captured != 0) $writememh("{name}.capture.hex", {name}_memory, 0, '
                  f"{name}_captured - 1);\n")

    for index, stream in enumerate(description["streams"]):
        name, width, ports = stream["name"], stream["width"], stream["ports"]
        connections += [f".{ports['valid']}({name}_valid)", f".{ports['ready']}({name}_ready)"]
        connections += [f".{port['name']}({name}_payload[{port['offset'] + port['width'] - 1}:{port['offset']}])"
                        for port in ports["payload"]]
        if stream["direction"] == "in":
            depth = stimulus_depth
            stimuli.append(StimulusMemory(name=name, width=width, depth=depth))
            body += _SOURCE.format(name=name, msb=width - 1, last=depth - 1, salt=index + 1)
            loads += (f'    if ({name}_count != 0) $readmemh("{name}.stimulus.hex", {name}_memory, 0, '
                      f"{name}_count - 1);\n")
        else:
            depth = capture_depth
            word = width + CYCLE_BITS
            body += _SINK.format(name=name, msb=width - 1, word_msb=word - 1, last=depth - 1, salt=index + 1)
            capture(name, word, depth)
        monitor(name, name, "_", width)

    for tap in description["taps"]:
        monitor(tap["path"], f"dut.{tap['path']}", "__", tap["width"])
        if tap["kind"] == "desires":
            depth = samples * tap["neurons"] + 1
            word = tap["width"] + CYCLE_BITS
            body += _DESIRES.format(name=tap["name"], path=tap["path"], msb=word - 1, last=depth - 1)
            capture(f"tap_{tap['name']}", word, depth)
            continue
        kind, neuron = tap["fields"]["kind"], tap["fields"]["neuron"]
        depth, word = samples * steps + 1, tap["neurons"] + 1 + CYCLE_BITS
        body += _TAP.format(
            name=tap["name"], path=tap["path"], word_msb=word - 1, neurons_msb=tap["neurons"] - 1,
            last=depth - 1, kind_msb=kind["offset"] + kind["width"] - 1, kind_lsb=kind["offset"],
            index_msb=neuron["width"] - 1, neuron_msb=neuron["offset"] + neuron["width"] - 1,
            neuron_lsb=neuron["offset"])
        capture(f"tap_{tap['name']}", word, depth)

    for inner in description["monitored"]:
        monitor(inner["path"], f"dut.{inner['path']}", "__", inner["width"])

    for membrane in description["membranes"]:
        depth, word = samples * steps * membrane["slices"] + 1, membrane_word(membrane) + CYCLE_BITS
        body += _membrane_capture(membrane, word, depth)
        capture(f"membrane_{membrane['layer']}", word, depth)

    outputs = [stream["name"] for stream in description["streams"] if stream["direction"] == "out"]
    inputs = [stimulus.name for stimulus in stimuli]
    trains = [tap for tap in description["taps"] if tap["kind"] == "spikes"]
    twice = [f"tap_{tap['name']}_twice" for tap in trains]
    rules = [f"rule_{index}" for index in range(len(monitors))] + twice
    monitors += [f"{tap['path']} (a spike twice, or of no neuron)" for tap in trains]
    sent = " & ".join(f"({name}_sent == {name}_count) & ~{name}_valid" for name in inputs) or "1'b1"
    taken = " & ".join(f"({name}_captured >= {name}_expected)" for name in outputs) or "1'b1"
    full = " | ".join(f"({c.name}_captured >= {c.depth})" for c in captures) or "1'b0"
    text = f"""// Simulation harness, generated from the description of '{description["top"]}'.
`timescale 1ns/1ps
module harness;
  reg clk = 0, rst = 1, load = 0, dump = 0, go = 0;
  reg [1:0] stall_mode = 0;
  reg [31:0] stall_seed = 1;
  reg [31:0] cycle = 0;       // clock cycles since go
  reg finished = 0;
  wire overflow = {full};     // a capture memory was too small
  wire [{len(rules) - 1}:0] violations = {{{", ".join(reversed(rules))}}};
  always @(posedge clk) begin
    cycle <= (rst | ~go) ? 0 : cycle + 1;
    finished <= ~rst & go & {sent} & {taken};
  end
  always @(posedge load) begin
{loads}  end
  always @(posedge dump) begin
{dumps}  end
{body}
{monitor_text}
{"" if record is None else _RECORD.format(file=record)}
  {description["top"]} dut (.{description["clock"]}(clk), .{description["reset"]}(rst),
    {(", ").join(connections)});
endmodule
{_LIBRARY}"""
    public = [*_PUBLIC, *([] if record is None else ["record"]),
              *(f"{name}_count" for name in inputs), *(f"{c.name}_captured" for c in captures),
              *(f"{name}_expected" for name in outputs)]
    control = ["`verilator_config"]
    control += [f'public_flat_rw -module "harness" -var "{name}"' for name in public]
    control += ["// The harness is test equipment; only the design is linted.", "lint_off -file \"*harness.v\""]
    control += [f'lint_off -rule {rule} -file "*{description["top"]}.v"' for rule in description["waivers"]]
    return Harness(verilog=text, control_file="\n".join(control) + "\n", stimuli=tuple(stimuli),
                   captures=tuple(captures), monitors=tuple(monitors))


def write_pin_harness(description: dict[str, Any]) -> Harness:
    """A harness for a design that a bench drives pin by pin: its ports under their own names, nothing else."""
    ports = description["ports"]
    kinds = {"in": "reg", "out": "wire"}
    declarations = "".join(f"  {kinds[port['direction']]} [{port['width'] - 1}:0] {port['name']}"
                           f"{' = 0' if port['direction'] == 'in' else ''};\n" for port in ports)
    connections = ", ".join(f".{port['name']}({port['name']})" for port in ports)
    name = description["top"]
    text = (f"// Simulation harness, generated from the description of '{name}'.\n`timescale 1ns/1ps\n"
            f"module harness;\n{declarations}  {name} dut ({connections});\nendmodule\n")
    control = ["`verilator_config", *(f'public_flat_rw -module "harness" -var "{port["name"]}"' for port in ports),
               'lint_off -file "*harness.v"', *(f'lint_off -rule {rule} -file "*{name}.v"'
                                                for rule in description["waivers"])]
    return Harness(verilog=text, control_file="\n".join(control) + "\n", stimuli=(), captures=(), monitors=())
