"""The worked example of ``docs/add-a-neuron.md``: its files and lines in a copy of the tree are all it takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import quick

ROOT = Path(__file__).parents[1]
ROOMS = ("golden", "hdl", "sim", "boards")

PROOF = '''
import sys

import numpy as np

from lifstream.golden.contract.flat import flat_network
from lifstream.golden.contract.input import Pixels
from lifstream.golden.contract.network import Layer, NetworkSpec
from lifstream.golden.contract.neurons import IntegrateAndFire, Lif
from lifstream.golden.contract.readout import SpikeCounts
from lifstream.golden.contract.rules import DesireBackpropagation
from lifstream.golden.contract.synapses import Dense
from lifstream.golden.model.network import Network
from lifstream.golden.study.datasets import Split
from lifstream.golden.study.model_files import Model
from lifstream.golden.twin.engine import Engine, Runner
from lifstream.hdl.emit import emit_network
from lifstream.hdl.geometry import Geometry
from lifstream.sim.cosim import Segment, cosimulate

neurons = [IntegrateAndFire(threshold=1 << 14), Lif(threshold=1 << 14), IntegrateAndFire(threshold=20_000)]
sizes = [12, 9, 7, 3]
spec = NetworkSpec(input=Pixels(count=12), readout=SpikeCounts(), steps=8, layers=tuple(
    Layer(synapses=Dense(inputs=n_in, outputs=n_out), neuron=neuron, rule=DesireBackpropagation())
    for n_in, n_out, neuron in zip(sizes, sizes[1:], neurons)))
assert NetworkSpec.from_json(spec.to_json()) == spec

random = np.random.default_rng(1)
images, labels = random.integers(0, 256, (40, 12)).astype(np.uint8), (np.arange(40) % 3).astype(np.uint8)
weights = [np.clip(2 * matrix, -32768, 32767) for matrix in Network.initial(spec=spec, seed=2).weights]
runners = [Runner(network=Network(spec=spec, weights=weights), engine=Engine(name)) for name in sys.argv[1:]]
outcomes = [runner.learn(images, labels, rate_shift=11) for runner in runners]
assert len({runner.network.digest() for runner in runners}) == 1, "the twin learns something else"
assert all((outcome.spikes == outcomes[0].spikes).all() for outcome in outcomes) and outcomes[0].learned.any()
assert (outcomes[0].spikes.sum(axis=0) > 0).all(), "a layer is silent"

emission = emit_network(spec=spec, geometry=Geometry(lanes=4))
segments = [Segment(split="all", order=np.arange(40), rate_shift=11, check_every=20),
            Segment(split="all", order=np.arange(10))]
result = cosimulate(Model(network=Network(spec=spec, weights=weights), preset="toy", dataset="none"),
                    {"all": Split(images=images, labels=labels)}, segments, verilog=emission.verilog,
                    description=emission.description)
print("bit-exact" if result.bit_exact and result.digest == runners[0].network.digest() else result.message)
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree in which the page has been followed."""
    package = tmp_path / "lifstream"
    package.mkdir()
    for source in (ROOT / "lifstream").glob("*.py"):
        shutil.copy(source, package)
    for room in ROOMS:
        shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("__pycache__", "models"))
    blocks = re.findall(r"```python\n# (\S+?\.py)(, one more line[^\n]*)?\n(.*?)```",
                        (ROOT / "docs" / "add-a-neuron.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 6
    for name, further, text in blocks:
        path = package / name
        if not further:
            assert not path.exists()
            path.write_text(text)
            continue
        imports, entry = re.fullmatch(r"((?:from [^\n]*\n)+)\n?(    [^\n]*\n)?", text).groups()
        whole = path.read_text()
        last_import = list(re.finditer(r"^from [^\n(]*(?:\([^)]*\))?\n", whole, re.MULTILINE))[-1].end()
        whole = whole[:last_import] + imports + whole[last_import:]
        if entry:
            table = re.search(r"line of (\w+)", further)[1]
            head = re.search(rf"^{table}: [^\n]* = {{\n", whole, flags=re.MULTILINE)[0]
            whole = whole.replace(head, head + entry, 1)
        path.write_text(whole)
    return tmp_path


def proof(tree: Path, *engines: str) -> str:
    """What the proof says in a tree, of these engines and the hardware."""
    done = subprocess.run([sys.executable, "-c", PROOF, *engines], cwd=tree, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tree)}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.simulation
@pytest.mark.parametrize("engines", quick([["numpy"], ["numpy", "numba"]], ["numpy"]))
def test_the_page_s_neuron_is_bit_exact_and_another_is_not(tree: Path, engines: list[str]) -> None:
    assert proof(tree, *engines) == "bit-exact"
    step = tree / "lifstream" / "golden" / "model" / "neurons" / "integrate_and_fire.py"
    text = step.read_text()
    changed = text.replace("(potential - potential * fired,)", "(potential - constants.threshold * fired,)")
    assert changed != text
    step.write_text(changed)
    # The golden model now resets by subtraction, the design to zero.
    assert "membrane potential expected" in proof(tree, "numpy")
