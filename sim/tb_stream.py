"""Bench for any single block: payloads in, payloads out, stream rules watched."""

from __future__ import annotations

from typing import Any

import cocotb

from lifstream.sim.bench import BenchError, HarnessDriver


@cocotb.test()
async def stream(dut: Any) -> None:
    """Play the stimuli of each run and report every output payload as an integer, but of runs cut off by a reset."""
    driver = HarnessDriver(dut)
    config = driver.config
    await driver.start(stall_mode=config["stall_mode"], seed=config["seed"])
    runs: list[dict[str, Any]] = []
    error = ""
    try:
        for run in config["runs"]:
            if (cut := run.get("cut")) is not None:
                await driver.cut(run["stimuli"], clocks=cut["clocks"], reset_clocks=cut["reset_clocks"])
                continue
            if run.get("reset"):
                await driver.reset()
            await driver.run(run["stimuli"], expected=run["expected"], cycle_limit=run["cycle_limit"])
            outputs: dict[str, Any] = {}
            for output in driver.outputs:
                outputs[output["name"]], cycles = driver.output(output["name"])
                outputs[output["name"] + ".cycles"] = cycles.tolist()
            runs.append(outputs)
    except BenchError as problem:
        error = str(problem)
    driver.finish({"runs": runs, "error": error})
    assert not error, error
