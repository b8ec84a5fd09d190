"""The AXI wrapper, spoken to by a client that is not ours (cocotbext-axi), against the golden model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.protocol import COUNTERS, Command, Status
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.model.packets import decode_status, encode_state, image_packets, packet
from lifstream.hdl.emit import emit_axi
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.axi import AXI_VERSION, register_map
from lifstream.hdl.usage import companions
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import build, run_bench
from tests.conftest import quick, random_images, random_network
from tests.sim.blocks import once

pytestmark = pytest.mark.simulation

SPEC = flat_network(sizes=(7, 5, 3), steps=8, dropout=30)
IMAGES = random_images(4, 7, 5)
LABELS = np.array([0, 1, 2, 1], dtype=np.uint8)
REGISTERS = register_map()


def network() -> Network:
    return random_network(SPEC, 3, scale=2.5)


def play(steps: list[dict[str, Any]], folder: Path, *, width: int, seed: int = 0) -> list[Any]:
    """Results of the steps; every reply has been taken by one of them."""
    emission = once(emit_axi, spec=SPEC, geometry=Geometry(lanes=3), width=width)
    built = build(verilog=emission.verilog, harness=write_pin_harness(emission.description),
                  description=emission.description)
    result = run_bench(built, module="lifstream.sim.tb_axi", folder=folder,
                       configuration={"steps": steps, "seed": seed})
    assert result["surplus"] == 0
    return list(result["results"])


def send(words: np.ndarray, **options: Any) -> dict[str, Any]:
    return {"do": "send", "data": bytes((words & 0xFF).astype(np.uint8)).hex(), **options}


def command(code: Command, payload: Any = ()) -> list[dict[str, Any]]:
    return [send(packet(code, payload)), {"do": "receive"}]


def read(name: str) -> dict[str, Any]:
    return {"do": "read", "address": REGISTERS[name]}


def load() -> list[dict[str, Any]]:
    return command(Command.LOAD_WEIGHTS, encode_state(SPEC, "weights", network().weights))


@pytest.mark.parametrize(("width", "seed"), quick([(1, 3), (2, 0), (4, 5), (8, 7)], (1, 3), (4, 5)))
def test_conversation(tmp_path: Path, width: int, seed: int) -> None:
    """Load, infer, train, read back; counters agree between the register port and the STATUS packet."""
    steps = [read("version"), read("digest_low"), read("digest_high"), *load(),
             *command(Command.SET_RATE_SHIFT, [11])]
    for images, labels in ((IMAGES, None), (IMAGES, LABELS)):
        for index in range(4):
            one = slice(index, index + 1)
            steps.append(send(image_packets(images[one], None if labels is None else labels[one])))
        steps += [{"do": "receive"}] * 4
    steps += [*command(Command.READ_WEIGHTS), *command(Command.STATUS)]
    low_and_high = [{"do": "read", "address": REGISTERS[name] + 4 * half} for name in COUNTERS for half in (0, 1)]
    steps += low_and_high
    results = play(steps, tmp_path, width=width, seed=seed)
    assert results[0] == AXI_VERSION
    assert b"".join(value.to_bytes(4, "little") for value in results[1:3]).hex() == SPEC.digest()
    replies = [bytes.fromhex(result) for step, result in zip(steps, results, strict=True) if step["do"] == "receive"]
    golden, draws = network(), DrawGenerator(SPEC)
    for reply, image in zip(replies[2:6], IMAGES, strict=True):
        assert list(reply[3:]) == golden.classify(image).counts.tolist()
    for reply, image, label in zip(replies[6:10], IMAGES, LABELS, strict=True):
        record = learn(golden, image, int(label), rate_shift=11, **draws.draw()._asdict())
        assert reply[0] == Command.TRAIN
        assert list(reply[3:]) == record.forward.counts.tolist()
    assert replies[10][2:] == bytes(encode_state(SPEC, "weights", golden.weights))
    status = decode_status(np.frombuffer(replies[11][2:], dtype=np.uint8).astype(np.int64))
    words = results[-len(low_and_high):]
    counters = {name: words[2 * index] | words[2 * index + 1] << 32 for index, name in enumerate(COUNTERS)}
    assert {name: counters[name] for name in COUNTERS if name != "idle_cycles"} == \
        {name: status[name] for name in COUNTERS if name != "idle_cycles"}
    assert counters["idle_cycles"] > int(status["idle_cycles"])
    assert counters["images"] == 8


def test_control(tmp_path: Path) -> None:
    """Clear the counters; reset amid a packet, with its weights kept; unknown registers and strobes are harmless."""
    image = image_packets(IMAGES[:1], None)
    control = {"do": "write", "address": REGISTERS["control"]}
    steps = [*load(), send(image), {"do": "receive"}, read("images"),
             {**control, "value": 0x200, "bytes": 4}, read("images"),
             {**control, "value": 2}, {"do": "wait", "clocks": 40}, read("images"), read("control"),
             {"do": "write", "address": 0x30, "value": 3}, {"do": "read", "address": 0x30},
             send(image[:4]), {"do": "wait", "clocks": 40}, {**control, "value": 1}, {"do": "wait", "clocks": 40},
             send(image), {"do": "receive"}, *command(Command.READ_WEIGHTS)]
    results = play(steps, tmp_path, width=4)
    reads = [result for step, result in zip(steps, results, strict=True) if step["do"] == "read"]
    assert reads[:3] == [1, 1, 0]
    assert reads[3] == 1 << 8
    assert reads[4] == 0
    replies = [bytes.fromhex(result) for step, result in zip(steps, results, strict=True) if step["do"] == "receive"]
    golden = network().classify(IMAGES[0])
    assert list(replies[1][3:]) == golden.counts.tolist()
    # What was cut off got its error before the reset; the reset core takes the same image as if nothing had been.
    assert replies[2][:2] == bytes([Command.INFER, Status.BAD_LENGTH])


@pytest.mark.parametrize("keep", [[1, 0] * 8, [0, 0, 0, 0, 1, 1, 1, 1] * 2])
def test_null_bytes_are_dropped(tmp_path: Path, keep: list[int]) -> None:
    """Bytes that tkeep does not name are no part of the packet, even at its end."""
    words = packet(Command.SET_RATE_SHIFT, [11])
    padded, places = np.zeros(len(keep), dtype=np.int64), np.flatnonzero(keep)
    padded[places[:2]] = words & 0xFF
    kept = [int(place in places[:2]) for place in range(len(keep))]
    steps = [send(padded, keep=kept), {"do": "receive"}, *command(Command.STATUS)]
    results = play(steps, tmp_path, width=4)
    assert bytes.fromhex(results[1]) == bytes([Command.SET_RATE_SHIFT, Status.OK])
    assert bytes.fromhex(results[3])[2 + 8] == 11


def test_a_wrong_weight_shows(tmp_path: Path) -> None:
    """The comparison can fail: one bit of one weight on its way in."""
    weights = [matrix.copy() for matrix in network().weights]
    weights[0][0, 0] ^= 4
    load = command(Command.LOAD_WEIGHTS, encode_state(SPEC, "weights", weights))
    results = play([*load, *command(Command.READ_WEIGHTS)], tmp_path, width=4)
    assert bytes.fromhex(results[3])[2:] != bytes(encode_state(SPEC, "weights", network().weights))


def test_description_and_package() -> None:
    emission = once(emit_axi, spec=SPEC, geometry=Geometry(lanes=3), width=4, preset='x"[exit]', name="my_core")
    ports = {port["name"]: (port["direction"], port["width"]) for port in emission.description["ports"]}
    assert ports["s_axis_tdata"] == ("in", 32)
    assert ports["m_axis_tkeep"] == ("out", 4)
    assert ports["aclk"] == ports["aresetn"] == ("in", 1)
    assert "clk" not in ports
    files = companions(emission.description)
    assert set(files) == {"files.f", "my_core.xml", "my_core_instance.vh", "package_ip.tcl"}
    assert files["files.f"] == "my_core.v\n"
    script = files["package_ip.tcl"]
    assert "read_verilog [file join $folder my_core.v]\n" in script
    assert "set_property top my_core [current_fileset]\n" in script
    assert "set_property name my_core $core\n" in script
    assert "chip, preset x??exit?\"" in script
    with pytest.raises(InputError, match="AXI width: 3 bytes"):
        once(emit_axi, spec=SPEC, geometry=Geometry(lanes=3), width=3)
