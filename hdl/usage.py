"""What goes with a core's Verilog for those who use it: an instantiation template, a bench, lists for tools.

All of it is written from the description; the packets that the bench plays and the right answers are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Template
from typing import Any

import lifstream
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command, Exchange, Status, response_bytes
from lifstream.hdl.host.axi import AXI_VERSION
from lifstream.hdl.ipxact import component
from lifstream.hdl.names import comment

__all__ = ["BENCH_BYTES_MAX", "companions", "write_bench"]

BENCH_BYTES_MAX = 1 << 20
"""Bytes of packets that a bench holds at most: more make a text that simulators take minutes to read."""

_WORD = 32  # bytes of a word of the bench's data


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _instance(description: dict[str, Any]) -> str:
    """The instantiation template: every port, connected to a signal of its name."""
    name, ports = description["top"], description["ports"]
    lines = [f"  .{port['name']}({port['name']})" + ("," if port is not ports[-1] else "") for port in ports]
    width = max(map(len, lines))
    told = [f"{line:{width}}  // {'input' if port['direction'] == 'in' else 'output'} {_range(port['width'])}"
            for line, port in zip(lines, ports, strict=True)]
    return "\n".join([f"// Instantiation template of {name}: copy it and connect what you have.",
                      f"{name} {name}_instance (", *(line.rstrip() for line in told), ");", ""])


_PACKAGE_SCRIPT = Template("""\
# Packages the core as an IP of Vivado's catalogue, for devices of every family:
#   vivado -mode batch -source package_ip.tcl ?-tclargs PART?
# The part, by default the installation's own, is that of the project in which the interfaces are inferred; nothing of
# the package depends on it.
set folder [file dirname [file normalize [info script]]]
set part [expr {[info exists argv] ? [lindex $$argv 0] : ""}]
if {$$part eq ""} {
  create_project -in_memory
} else {
  create_project -in_memory -part $$part
}
read_verilog [file join $$folder $name.v]
set_property top $name [current_fileset]
ipx::package_project -root_dir $$folder -vendor lifstream -library user -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name $name $$core
set_property version $version $$core
set_property core_revision $revision $$core
set_property display_name "$name: spiking network that learns on chip, preset $preset" $$core
set_property description "Commands and replies on AXI4-Stream, registers on AXI4-Lite; contract $digest" $$core
# No list of families: every one that the tool knows.
set_property supported_families {} $$core
set_property auto_family_support_level level_2 $$core
# Interfaces are inferred from the names of the ports; what follows holds for all of them.
foreach interface {$interfaces aclk aresetn} {
  if {[llength [ipx::get_bus_interfaces $$interface -of_objects $$core]] != 1} {
    error "$name: the interface $$interface was not inferred"
  }
}
foreach interface {$interfaces} {
  ipx::associate_bus_interfaces -busif $$interface -clock aclk $$core
}
ipx::associate_bus_interfaces -clock aclk -reset aresetn $$core
set reset [ipx::get_bus_interfaces aresetn -of_objects $$core]
set polarity [ipx::get_bus_parameters POLARITY -of_objects $$reset]
if {$$polarity eq ""} {
  set polarity [ipx::add_bus_parameter POLARITY $$reset]
}
set_property value ACTIVE_LOW $$polarity
ipx::create_xgui_files $$core
ipx::update_checksums $$core
ipx::check_integrity $$core
ipx::save_core $$core
close_project
""")
_AXI_INTERFACES = "s_axis m_axis s_axi"


def _package_script(description: dict[str, Any]) -> str:
    """What packages a core with AXI ports; versions of catalogues have two parts, and a revision."""
    major, minor, revision = re.findall(r"\d+", lifstream.__version__)[:3]
    return _PACKAGE_SCRIPT.substitute(
        name=description["top"], preset=comment(description["preset"]), digest=description["spec_digest"],
        version=f"{major}.{minor}", revision=revision, interfaces=_AXI_INTERFACES)


def companions(description: dict[str, Any]) -> dict[str, str]:
    """Further files of a core by name: a list of its sources, an instantiation template, an IP-XACT component, for AXI
    a packaging script.

    Parameters
    ----------
    description
        Content of ``NAME.v.json``.
    """
    name = description["top"]
    files = {"files.f": f"{name}.v\n", f"{name}_instance.vh": _instance(description),
             f"{name}.xml": component(description, [f"{name}.v"])}
    if description.get("interface") == "axi":
        files["package_ip.tcl"] = _package_script(description)
    return files


_BYTE_STREAMS = """\
  // What was transferred at the last clock edge.
  reg sent = 0, received = 0, received_last = 0;
  reg [7:0] received_data = 0;
  always @(posedge clk) begin
    sent <= commands_valid & commands_ready;
    received <= replies_valid & replies_ready;
    received_last <= replies_last;
    received_data <= replies_data;
  end

  task send(input [7:0] data, input last);
    begin
      commands_data = data;
      commands_last = last;
      commands_valid = 1;
      @(negedge clk);
      while (sent !== 1) @(negedge clk);
      commands_valid = 0;
    end
  endtask

  task receive(output [7:0] data, output last);
    begin
      replies_ready = 1;
      @(negedge clk);
      while (received !== 1) @(negedge clk);
      replies_ready = 0;
      data = received_data;
      last = received_last;
    end
  endtask
"""

_AXI = """\
  // What was transferred at the last clock edge.
  reg sent = 0, received = 0, received_last = 0, addressed = 0, read = 0;
  reg [$data_msb:0] received_data = 0;
  reg [$keep_msb:0] received_keep = 0;
  reg [31:0] read_data = 0;
  always @(posedge aclk) begin
    sent <= s_axis_tvalid & s_axis_tready;
    received <= m_axis_tvalid & m_axis_tready;
    received_last <= m_axis_tlast;
    received_data <= m_axis_tdata;
    received_keep <= m_axis_tkeep;
    addressed <= s_axi_arvalid & s_axi_arready;
    read <= s_axi_rvalid & s_axi_rready;
    read_data <= s_axi_rdata;
  end

  // Bytes are gathered to words of $width.
  integer lane = 0;
  task send(input [7:0] data, input last);
    begin
      s_axis_tdata[8 * lane +: 8] = data;
      s_axis_tkeep = s_axis_tkeep | (1 << lane);
      lane = lane + 1;
      if (last || lane == $width) begin
        s_axis_tlast = last;
        s_axis_tvalid = 1;
        @(negedge aclk);
        while (sent !== 1) @(negedge aclk);
        s_axis_tvalid = 0;
        s_axis_tkeep = 0;
        lane = 0;
      end
    end
  endtask

  // Only the last word of a reply may have fewer bytes than $width.
  reg [$data_msb:0] word = 0;
  reg [$keep_msb:0] keep = 0;
  task receive(output [7:0] data, output last);
    begin
      if (keep == 0) begin
        m_axis_tready = 1;
        @(negedge aclk);
        while (received !== 1) @(negedge aclk);
        m_axis_tready = 0;
        word = received_data;
        keep = received_keep;
      end
      data = word[7:0];
      word = word >> 8;
      keep = keep >> 1;
      last = received_last && keep == 0;
    end
  endtask

  task check_register(input [7:0] address, input [31:0] value);
    begin
      s_axi_araddr = address;
      s_axi_arvalid = 1;
      @(negedge aclk);
      while (addressed !== 1) @(negedge aclk);
      s_axi_arvalid = 0;
      s_axi_rready = 1;
      @(negedge aclk);
      while (read !== 1) @(negedge aclk);
      s_axi_rready = 0;
      if (read_data !== value) begin
        $$display("$name: register %h is %h, expected %h", address, read_data, value);
        errors = errors + 1;
      end
    end
  endtask
"""

_BENCH = Template("""\
// A bench for $name in plain Verilog-2005: loads weights, shows an image, and compares every answer with the golden
// model's. The last line says PASS or FAIL; FAIL also shows in the exit status. With +waves it writes ${name}_tb.vcd.
//   $$ iverilog -g2005 -o ${name}_tb.vvp $name.v ${name}_tb.v && vvp ${name}_tb.vvp
//   $$ verilator --binary --top-module ${name}_tb $name.v ${name}_tb.v && obj_dir/V${name}_tb
// $about
module ${name}_tb;
  // Inputs change at the falling edge of the clock, the core at the rising one.
  reg $clock = 0;
  always #5 $clock = ~$clock;
$declarations
  $name dut ($connections);

  // Packets, each followed by the right answer; $word bytes a word, the first byte highest.
  reg [$word_msb:0] packets [0:$last];
  initial begin
$packets  end

  function [7:0] byte_at(input integer place);
    byte_at = packets[place / $word][8 * ($word_end - place % $word) +: 8];
  endfunction

  integer clocks = 0, position = 0, errors = 0;
  always @(posedge $clock) clocks <= clocks + 1;

$transfers
  // Sends the next bytes as a packet; its answer should be the bytes that follow them.
  reg [7:0] answer [0:$longest];
  task exchange(input integer length, input integer answer_length);
    integer index;
    reg [7:0] data;
    reg last;
    begin
      for (index = 0; index < length; index = index + 1) send(byte_at(position + index), index == length - 1);
      position = position + length;
      last = 0;
      for (index = 0; !last; index = index + 1) begin
        receive(data, last);
        if (index < answer_length) answer[index] = data;
        if (index >= answer_length || data !== byte_at(position + index) || last !== (index == answer_length - 1)) begin
          $$display("$name: byte %0d of the answer is %h%0s, expected %h of %0d", index, data, last ? ", the last" : "",
                   byte_at(position + index), answer_length);
          errors = errors + 1;
        end
      end
      position = position + answer_length;
    end
  endtask

  task finish_failed;
    begin
`ifdef __ICARUS__
      $$finish_and_return(1);
`else
      $$stop;
`endif
    end
  endtask

  integer neuron, begun;
  initial begin
    if ($$test$$plusargs("waves")) begin
      $$dumpfile("${name}_tb.vcd");
      $$dumpvars;
    end
    repeat (8) @(negedge $clock);
    $reset;
$script
    if (answer[1] == 8'h$tie) $$write("$name: no prediction, a tie");
    else $$write("$name: prediction %0d", answer[2]);
    $$write("; $shown $label; ${response}s");
    for (neuron = 0; neuron < $neurons; neuron = neuron + 1) $$write(" %0d", $told);
    $$write("\\n");
    if (errors == 0) begin
      $$display("PASS: every answer is the golden model's");
      $$finish(0);
    end else begin
      $$display("FAIL: %0d differences from the golden model", errors);
      finish_failed;
    end
  end

  initial begin
    repeat ($limit) @(posedge $clock);
    $$display("FAIL: no answer within $limit clocks");
    finish_failed;
  end
endmodule
""")


def _words(content: bytes) -> str:
    """Assignments of the bench's data."""
    padded = content.ljust(-(-len(content) // _WORD) * _WORD, b"\0")
    return "".join(f"    packets[{start // _WORD}] = {8 * _WORD}'h{padded[start:start + _WORD].hex()};\n"
                   for start in range(0, len(padded), _WORD))


def _clock_limit(description: dict[str, Any], length: int) -> int:
    """Clocks in which all is done, generously: a byte in 16, and every neuron spiking in every step, four times."""
    synapses: int = sum((layer["n_in"] + 1) * layer["folds"] for layer in description["layers"])
    steps: int = description["spec"]["steps"]
    return 10_000 + 16 * length + 4 * steps * synapses


def write_bench(description: dict[str, Any], exchanges: Sequence[Exchange], *, label: int, about: str) -> str:
    """A bench in plain Verilog-2005 that plays packets, checks the answers and prints the last one, of an INFER.

    Parameters
    ----------
    description
        Content of ``NAME.v.json``, of a network behind either interface.
    exchanges
        Packets and the right answers, :data:`BENCH_BYTES_MAX` bytes at most.
    label
        What the image shows.
    about
        A line about weights and image.
    """
    name, axi = description["top"], description.get("interface") == "axi"
    clock = "aclk" if axi else "clk"
    content = b"".join(command + reply for command, reply in exchanges)
    script = []
    for command, reply in exchanges:
        what, length = Command(command[0]).name, len(command)
        script += ["    begun = clocks;", f"    exchange({length}, {len(reply)});",
                   f'    $display("{name}: {what}, {length} bytes, answered after %0d clocks", clocks - begun);']
    transfers, release = _BYTE_STREAMS, "rst = 0"
    if axi:
        width = description["axi_width"]
        transfers = Template(_AXI).substitute(name=name, width=width, data_msb=8 * width - 1, keep_msb=width - 1)
        release = "aresetn = 1"
        registers = description["registers"]
        script.insert(0, f"    check_register(8'h{registers['version']:02x}, 32'h{AXI_VERSION:08x});")
        script.append(f"    check_register(8'h{registers['images']:02x}, 1);  // the counter of images")
    inputs = [port for port in description["ports"] if port["direction"] == "in" and port["name"] != clock]
    outputs = [port for port in description["ports"] if port["direction"] == "out"]
    declarations = [f"  reg {_range(port['width'])}{port['name']} = {int(port['name'] == 'rst')};\n" for port in inputs]
    declarations += [f"  wire {_range(port['width'])}{port['name']};\n" for port in outputs]
    spec = NetworkSpec.from_json(description["spec"])
    width = response_bytes(spec)
    told = ", ".join(f"answer[3 + {width} * neuron + {byte}]" for byte in reversed(range(width)))
    return _BENCH.substitute(
        name=name, about=comment(about), clock=clock, declarations="".join(declarations),
        connections=", ".join(f".{port['name']}({port['name']})" for port in description["ports"]),
        word=_WORD, word_msb=8 * _WORD - 1, word_end=_WORD - 1, last=-(-len(content) // _WORD) - 1,
        packets=_words(content), transfers=transfers, longest=max(len(reply) for _, reply in exchanges) - 1,
        reset=release, script="\n".join(script), tie=f"{Status.TIE:02x}", label=label,
        neurons=spec.responding, told=f"$signed({{{told}}})" if spec.response_range[0] < 0 else f"{{{told}}}",
        response=spec.readout.response, shown="sample of class" if isinstance(spec.input, Events) else "image of a",
        limit=_clock_limit(description, len(content)))
