"""Bench for a whole network: real images through the Verilog, every step against the golden model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.model import load_model
from golden.network import ForwardRecord, Network
from golden.spec import InputError
from sim.bench import BenchError, HarnessDriver, word_fields
from sim.faults import Fault, plant_captured, plant_pixel, plant_weight
from sim.scoreboard import Captured, Divergence, first_divergence


def _capture(driver: HarnessDriver, network: Network, images: int) -> Captured:
    """Decode a batch's captures; raises BenchError when steps or results are missing or surplus."""
    spec, description = network.spec, driver.description
    ends = np.zeros((images, spec.steps), dtype=np.uint8)
    ends[:, -1] = 1
    trains = []
    for tap in description["taps"]:
        words = driver.capture(f"tap_{tap['name']}", tap["neurons"] + 1)
        if len(words) != images * spec.steps:
            raise BenchError(f"{tap['path']}: {len(words)} steps, expected {images} images of {spec.steps}")
        words = words.reshape(images, spec.steps, -1)
        if (words[:, :, -1] != ends).any():
            raise BenchError(f"{tap['path']}: a sample ends at the wrong step")
        trains.append(words[:, :, :-1].astype(np.int64))
    membranes = []
    for membrane in description["membranes"]:
        layer, groups = membrane["layer"], len(membrane["signals"])
        words = driver.capture(f"membrane_{layer}", membrane["width"] * groups)
        if len(words) != images * spec.steps * membrane["slices"]:
            raise BenchError(f"layer {layer}: {len(words)} membrane slices, expected "
                             f"{images * spec.steps * membrane['slices']}")
        values = word_fields(words, membrane["width"], signed=True)
        membranes.append(values.reshape(images, spec.steps, -1)[:, :, :spec.sizes[layer + 1]])
    bits, _ = driver.output("result")
    fields = driver.outputs[0]["fields"]

    def field(name: str, width: int) -> NDArray[np.int64]:
        start = fields[name]["offset"]
        return word_fields(bits[:, start:start + fields[name]["width"]], width)

    prediction = field("prediction", fields["prediction"]["width"])[:, 0]
    unique = field("unique", 1)[:, 0]
    return Captured(input_spikes=trains[0], spikes=tuple(trains[1:]), membranes=tuple(membranes),
                    counts=field("counts", spec.count_bits), predictions=np.where(unique, prediction, -1))


def _cycle_limit(network: Network, images: int, folds: int, *, stalls: int) -> int:
    """Far more clock cycles than the batch can need, so that a hang ends."""
    spec = network.spec
    per_image = spec.steps * (sum(spec.sizes) * folds + 200) + 4 * spec.inputs
    return (per_image * (images + 1) + 4 * spec.parameters) * (8 if stalls else 1) + 10_000


@cocotb.test()
async def network(dut: Any) -> None:
    """Load the model's weights, then play all images, a batch at a time."""
    driver = HarnessDriver(dut)
    config = driver.config
    model = load_model(Path(config["model"])).network
    images: NDArray[np.uint8] = np.load(config["images"])
    batch, seed = config["batch"], config["seed"]
    fault = Fault(config["fault"]) if config["fault"] else None
    folds = max(layer["folds"] for layer in driver.description["layers"])

    divergence: Divergence | None = None
    error = ""
    loaded, played = model.weights, images
    predictions: list[int] = []
    cycles = 0
    stalls = config["stall_mode"]
    started = time.perf_counter()
    try:
        if fault is Fault.WEIGHT:
            loaded = plant_weight(model, images, seed)
        if fault is Fault.PIXEL:
            played = plant_pixel(model, images, seed)
        await driver.start(stall_mode=stalls, seed=seed)
        weights = np.concatenate([matrix.ravel() for matrix in loaded])
        await driver.run({"weights": weights}, expected=0, cycle_limit=_cycle_limit(model, 0, folds, stalls=stalls))
        loading_cycles = driver.cycles
        started = time.perf_counter()
        for start in range(0, len(images), batch):
            part = slice(start, min(start + batch, len(images)))
            count = part.stop - part.start
            await driver.run({"pixels": played[part].ravel()}, expected=count,
                             cycle_limit=_cycle_limit(model, count, folds, stalls=stalls))
            captured = _capture(driver, model, count)
            golden: ForwardRecord = model.forward(images[part])
            if fault is not None and start == 0:
                captured = plant_captured(captured, fault, seed)
            divergence = first_divergence(golden, captured, first_image=start)
            predictions += captured.predictions.tolist()
            cycles += int(driver.output("result")[1][-1])
            driver.progress(done=part.stop, total=len(images))
            if divergence is not None:
                break
    except (BenchError, InputError) as problem:
        error = str(problem)
        loading_cycles = 0
    seconds = time.perf_counter() - started
    checked = len(predictions)
    driver.finish({
        "bit_exact": divergence is None and not error,
        "divergence": divergence.to_json() if divergence else None,
        "error": error,
        "images": checked,
        "predictions": predictions,
        "cycles_per_image": cycles / checked if checked else None,
        "loading_cycles": loading_cycles,
        "images_per_second": checked / seconds,
    })
    assert not error, error
    assert divergence is None, str(divergence)
