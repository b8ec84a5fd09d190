"""Clock cycles of many designs, co-simulated, which the estimate of cycles is tested against.

    python -m bench.cycles                        # those that bench/cycles.jsonl does not have yet

A line of JSON per design: cycles per image of the first test images, classified, and then of the first training images,
learnt from. The weights to start from are the released model's, where there is one of the contract, or random ones of
seed 1. Designs to test were chosen before any was measured.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.synthesis import Design, kept
from lifstream.console import Output
from lifstream.golden.contract.flat import NamedRule
from lifstream.golden.study.datasets import load_dataset
from lifstream.hardware import cosimulate_model
from lifstream.library import model_of_preset
from lifstream.sim.cosim import Segment

__all__ = ["CYCLES", "DESIGNS", "IMAGES"]

CYCLES = Path(__file__).parent / "cycles.jsonl"
IMAGES = 20
"""That are classified, and that are learnt from."""

_PHASES = ("load", "forward", "desire", "update")

DESIGNS = (
    Design("", "digits", "1"),
    Design("", "digits", "8", True),
    Design("", "conv-digits", "4,2", True),
    Design("", "digits-stdp", "4", True, {"hidden": 20}),
    Design("", "digits"),
    Design("", "dense 24, dense 16, dense 10", "4,4,2", True),
    Design("", "conv 8 3x3/2, dense 10", "8,5"),
    Design("", "conv 6 3x3/2, dense 10", "3,1", True),
    Design("", "digits", "4", True, {"hidden": 16, "weight_bits": 8}, {"pixels_per_clock": 2}),
    Design("", "digits", "8", True, {"rule": NamedRule.PAPER}),
    Design("", "digits-stdp", "2", False, {"hidden": 16}),
    Design("", "conv 6 5x5/2, conv 12 3x3, dense 10", "6,6,5", True),
    Design("", "digits", "4", True, {"steps": 8}, {"unroll": "1"}),
    Design("", "dense 96, dense 10", "32,10", True, {}, {"pixels_per_clock": 1}),
    Design("", "local 4 3x3/2, dense 16, dense 10", "4,16,5", True),
    Design("", "dense 24, dense 12, dense 10", "2,1,1", False, {}, {"unroll": "4"}),
    Design("", "digits-stdp", "10", True, {"rule": NamedRule.REWARD_STDP, "hidden": 40}),
    Design("", "digits", "balanced:4", True),
)
"""All designs; every name is one's own."""


def measured(design: Design) -> dict[str, Any]:
    """Co-simulate a design; a line of the file."""
    preset = design.preset
    model, _ = model_of_preset(preset)
    data = load_dataset(preset.dataset)
    begun = time.monotonic()
    order = np.arange(IMAGES)
    result = cosimulate_model(
        model, {"test": data.test[:IMAGES], "train": data.train[:IMAGES]},
        [Segment(split="test", order=order),
         Segment(split="train", order=order, rate_shift=preset.training.rate_shift, check_every=IMAGES)],
        Output(as_json=True), geometry=design.geometry)
    if not result.bit_exact:
        raise RuntimeError(f"{design.name}: {result.message}")
    spent = [0, *(sum(entry[f"{phase}_cycles"] for phase in _PHASES)
                  for entry in (next(entry for entry in reversed(result.history) if not entry["learning"]),
                                result.history[-1]))]
    infer, learn = (round((later - earlier) / IMAGES, 1) for earlier, later in pairwise(spent))
    return {"design": design.name, "spec_digest": preset.spec.digest(),
            "geometry": design.geometry.to_json(), "weights": model.network.digest(), "infer": infer, "learn": learn,
            "counters": result.history[-1], "seconds": round(time.monotonic() - begun)}


def main(only: Annotated[str, typer.Option(help="Designs with this in their names alone.")] = "") -> None:
    """Co-simulate the designs that were not measured before."""
    for design in [design for design in DESIGNS if only in design.name]:
        if design.name in kept(CYCLES):
            continue
        line = measured(design)
        with CYCLES.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(f"{design.name}: {line['infer']} and {line['learn']} cycles in {line['seconds']} s", flush=True)


if __name__ == "__main__":
    typer.run(main)
