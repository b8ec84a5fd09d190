"""Classifies handwritten digits in the simulated SoC and compares every byte with the golden model's."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soc

from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.example import example_exchanges
from lifstream.golden.study.model_files import find_model, load_model
from lifstream.sim.harness import write_pin_harness
from lifstream.sim.runner import Simulator, build, run_bench

# What Migen's Verilog does not mind.
_WAIVERS = ("WIDTHEXPAND", "WIDTHTRUNC", "CASEINCOMPLETE", "CASEOVERLAP", "COMBDLY")


def description(verilog: str) -> dict[str, Any]:
    """Ports of the SoC's module, as LiteX writes them."""
    ports = re.findall(r"^    (input|output) +\w+ +(?:\[(\d+):0\] +)?(\w+)[,\n]",
                       verilog[verilog.index("module digits_soc ("):].split(");")[0], re.MULTILINE)
    return {"top": "digits_soc", "waivers": _WAIVERS, "ports": [
        {"name": name, "direction": direction.removesuffix("put"), "width": int(high or 0) + 1}
        for direction, high, name in ports]}


def simulate(folder: Path, *, network: Network, images: int, simulator: Simulator) -> int:
    """Play images through the SoC; returns how much was not as it should be."""
    top, core = (path.read_text() for path in soc.write(folder, spec=network.spec))
    top = re.sub(r"^//.*\n", "", top, flags=re.MULTILINE)  # the date would make every build a new one
    described = description(top)
    built = build(verilog=top + core, harness=write_pin_harness(described), description=described, simulator=simulator)
    test = load_dataset("digits").test
    load, *_ = example_exchanges(network, test.images[0])
    exchanges = [load, *(example_exchanges(network, image)[-1] for image in test.images[:images])]
    result = run_bench(built, module="tb_soc", folder=folder / "run", configuration={
        "csr_csv": str((folder / "csr.csv").resolve()), "commands": [each.command.hex() for each in exchanges],
    })
    if not result["interrupt"]:
        print("the interrupt did NOT come with a reply, or did not go with it")
    replies = result["replies"]
    wrong = [reply != exchange.reply.hex() for reply, exchange in zip(replies, exchanges, strict=True)]
    for reply, label, different in zip(replies[1:], test.labels, wrong[1:], strict=False):
        counts = np.frombuffer(bytes.fromhex(reply), dtype=np.uint8)[3:]
        print(f"a {label}, the SoC says {bytes.fromhex(reply)[2]}; spike counts {counts.tolist()}"
              + ("; NOT the golden model's answer" if different else ""))
    return sum(wrong) + (not result["interrupt"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/litex"))
    parser.add_argument("--model", default="digits", help="model file, or a released model")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--simulator", type=Simulator, choices=list(Simulator), default=Simulator.ICARUS)
    given = parser.parse_args()
    wrong = simulate(given.folder, network=load_model(find_model(given.model)).network, images=given.images,
                     simulator=given.simulator)
    sys.exit(1 if wrong else 0)
