"""The C driver and the one for PYNQ on the simulated core, against the golden model."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifstream.boards.c_driver import FOLDER, driver_files, network_header, protocol_header
from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.protocol import COUNTERS
from lifstream.golden.model.draws import DrawGenerator
from lifstream.golden.model.learning import learn
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.model_files import Model, save_model
from lifstream.hdl.emit import emit_axi
from lifstream.hdl.geometry import Geometry
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import build, run_bench
from tests.conftest import random_network
from tests.sim.blocks import once

SPEC = flat_network(sizes=(64, 6, 10), steps=8, dropout=30)
SHIFT, IMAGES = 11, 5
SEEDS = [7 + index for index, _ in enumerate(SPEC.random_seeds)]     # others than the contract's
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-O2"]


def compiled(folder: Path) -> Path:
    """The driver with its client, as a library."""
    (folder / "core.h").write_text(network_header(SPEC, name="core"))
    sources = [*sorted(FOLDER.glob("*.c")), Path(__file__).parent / "driver_client.c"]
    library = folder / "driver.so"
    subprocess.run(["gcc", *FLAGS, "-fPIC", "-shared", f"-I{FOLDER}", f"-I{folder}", "-o", library, *sources],
                   check=True)
    return library


def digits() -> tuple[np.ndarray, np.ndarray]:
    training = load_dataset("digits").train
    return training.images[:IMAGES], training.labels[:IMAGES]


def play(folder: Path, network: Network, **configuration: Any) -> dict[str, Any]:
    emission = once(emit_axi, spec=SPEC, geometry=Geometry(lanes=2), width=4)
    built = build(verilog=emission.verilog, harness=write_pin_harness(emission.description),
                  description=emission.description)
    save_model(folder / "model.npz", Model(network=network, preset="custom", dataset="digits"))
    images, labels = digits()
    return run_bench(built, module="lifstream.boards.tb_driver", folder=folder / "run", configuration={
        "model": str(folder / "model.npz"), "images": images.tolist(), "labels": labels.tolist(), "rate_shift": SHIFT,
        "core": 0x4000_0000, "seeds": SEEDS, **configuration})


def expected() -> tuple[list[list[int]], list[int], Network]:
    """Spike counts and predictions of all images, twice, and the network that has learnt from them."""
    network, draws = random_network(SPEC, 3, scale=2.5), DrawGenerator(SPEC)
    assert SEEDS
    draws.states = list(SEEDS)
    images, labels = digits()
    records = [network.classify(image) for image in images]
    records += [learn(network, image, int(label), rate_shift=SHIFT, **draws.draw()._asdict()).forward
                for image, label in zip(images, labels, strict=True)]
    return [record.counts.tolist() for record in records], [int(record.prediction) for record in records], network


@pytest.mark.simulation
@pytest.mark.parametrize("driver", ["c", "pynq"])
def test_a_driver_classifies_and_learns(tmp_path: Path, driver: str) -> None:
    """Answers, counters and every weight are the golden model's; registers and packets count alike."""
    library = compiled(tmp_path) if driver == "c" else None
    found = play(tmp_path, random_network(SPEC, 3, scale=2.5), driver=driver, library=str(library))
    assert found["result"] == 0, found["text"]
    counts, predictions, network = expected()
    assert found["responses"] == counts
    assert found["predictions"] == predictions
    assert found["weights"] == np.concatenate([matrix.ravel() for matrix in network.weights]).tolist()
    packet, registers = (dict(zip(COUNTERS, values, strict=True)) for values in found["counters"])
    assert packet["images"] == 2 * IMAGES
    assert packet["learned"] + packet["skipped"] == IMAGES
    del packet["idle_cycles"], registers["idle_cycles"]
    assert packet == registers
    if driver == "pynq":
        assert found["again"] == network.classify(digits()[0][0]).counts.tolist()
        assert found["failure"].startswith("board: the DMA failed (DMA channel not idle)")


@pytest.mark.simulation
def test_a_wrong_weight_shows(tmp_path: Path) -> None:
    """The comparison can fail: one bit of one weight on its way in."""
    network = random_network(SPEC, 3, scale=2.5)
    network.weights[1][0, 0] ^= 1
    found = play(tmp_path, network, driver="c", library=str(compiled(tmp_path)))
    assert found["weights"] != np.concatenate([matrix.ravel() for matrix in expected()[2].weights]).tolist()


@pytest.mark.simulation
def test_a_wrong_core_is_refused(tmp_path: Path) -> None:
    """Another network's header, and an address at which there are other registers: the DMA's."""
    library = compiled(tmp_path)
    text = (tmp_path / "core.h").read_text()
    found = play(tmp_path, random_network(SPEC, 3), driver="c", library=str(library), core=0x4100_0000)
    assert (found["result"], found["text"]) == (-1, "no core at this address, or one whose registers are others")
    other = tmp_path / "other"
    other.mkdir()
    (other / "core.h").write_text(network_header(flat_network(sizes=(64, 6, 10), steps=9), name="core"))
    assert (other / "core.h").read_text() != text
    subprocess.run(["gcc", *FLAGS, "-fPIC", "-shared", f"-I{FOLDER}", f"-I{other}", "-o", other / "driver.so",
                    *sorted(FOLDER.glob("*.c")), Path(__file__).parent / "driver_client.c"], check=True)
    found = play(tmp_path, random_network(SPEC, 3), driver="c", library=str(other / "driver.so"))
    assert (found["result"], found["text"]) == (-2, "the core holds another network")


def test_registers_in_memory(tmp_path: Path) -> None:
    assert ctypes.CDLL(str(compiled(tmp_path))).mmio_works()


def test_the_header_of_codes_is_the_protocols() -> None:
    """Written again by ``python -m lifstream.boards.c_driver``."""
    assert (FOLDER / "lifstream_protocol.h").read_text() == protocol_header()


def test_headers_are_cpp_too(tmp_path: Path) -> None:
    for name, text in driver_files().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "core.h").write_text(network_header(SPEC, name="core"))
    (tmp_path / "main.cpp").write_text('#include "core.h"\n#include "lifstream_axi_dma.h"\n'
                                       "int main() { return core_network.classes == 10 ? 0 : 1; }\n")
    assert shutil.which("g++")
    subprocess.run(["g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", tmp_path / "main.cpp"], check=True)
