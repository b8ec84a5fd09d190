"""Writes ``packets.hex``, the ROM of ``digit_leds.v``: a model's weights and the test image of a number, as packets."""

from __future__ import annotations

import argparse
from pathlib import Path

from lifstream.golden.study.datasets import load_dataset
from lifstream.golden.study.example import example_exchanges
from lifstream.golden.study.model_files import find_model, load_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="digits", help="model file, or a released model, of 64 pixels")
parser.add_argument("--image", type=int, default=0, help="number of the test image")
parser.add_argument("--out", type=Path, default=Path("packets.hex"))
given = parser.parse_args()
network = load_model(find_model(given.model)).network
packets = [exchange.command for exchange in example_exchanges(network, load_dataset("digits").test.images[given.image])]
given.out.write_text("".join(f"{byte | (place == len(packet) - 1) << 8:03x}\n"
                             for packet in packets for place, byte in enumerate(packet)))
print(f"{sum(map(len, packets))} bytes; the golden model says "
      f"{int(network.classify(load_dataset('digits').test.images[given.image]).prediction)}")
