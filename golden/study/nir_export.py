"""Our networks as NIR graphs, for other tools; and back again, as they were.

A graph says what NIR can: structure, weights in units of the weight format's 1, time constants. What it cannot say (the
formats, soft resets, what the neurons do at their bounds, learning) is in the graph's metadata: the whole contract.
:func:`restored` puts both together, if the graph's weights are still those of the contract.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.formats import Phase
from lifstream.golden.contract.input import Events
from lifstream.golden.contract.network import NetworkSpec, PlacedLayer
from lifstream.golden.contract.neurons import CubaLif, Decay, Lif, PerNeuron, Reset
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Map, SumPool, Synapses
from lifstream.golden.model.network import Network
from lifstream.golden.study.nir_graph import DEFAULT_DT, package

__all__ = ["graph_of", "restored"]

_KEY, _UNREACHED = "lifstream", "unreached"
"""Metadata: the contract in JSON; of layers that became matrices, the weights that have no place there."""


def _shape(of: Map) -> tuple[int, int, int]:
    """A map's in NIR."""
    return of.channels, of.height, of.width


def _channel_first(weights: NDArray[np.float64], before: Map) -> NDArray[np.float64]:
    """Rows of a matrix in NIR's order of the map before, which is ours channel last."""
    rows = weights.reshape(before.height, before.width, before.channels, -1)
    return np.moveaxis(rows, 2, 0).reshape(len(weights), -1)


def _expanded(synapses: Synapses, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Any synapses from the layer before as one matrix, (n_before, n_out)."""
    matrix = np.zeros((synapses.n_before, synapses.n_out))
    columns = weights.shape[1]
    for source in range(synapses.n_before):
        for target in synapses.targets(source):
            matrix[source, target.first:target.first + columns] = weights[target.row]
    return matrix


class _Writer:
    """A graph in the making: nodes in a chain, and ways back."""

    def __init__(self, network: Network) -> None:
        self.nir, self.network, self.spec = package(), network, network.spec
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.unreached: dict[str, list[list[float]]] = {}
        self.last = ""

    def chain(self, name: str, node: Any) -> None:
        if self.nodes:
            self.edges.append((self.last, name))
        self.nodes[name] = node
        self.last = name

    def graph(self) -> Any:
        spec, nir = self.spec, self.nir
        before = self._entrance()
        flat = before.height == before.width == 1
        self.chain("input", nir.Input(np.array([before.channels] if flat else _shape(before))))
        for at in spec.placed:
            before, flat = self._layer(at, before, flat=flat)
        self.chain("output", nir.Output(np.array([spec.responding])))
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, type_check=False, metadata={
            _KEY: json.dumps(spec.to_json(), sort_keys=True), _UNREACHED: json.dumps(self.unreached),
            "spec_digest": spec.digest(), "dt": DEFAULT_DT})

    def _entrance(self) -> Map:
        if isinstance(self.spec.input, Events):
            return self.spec.input.map
        first = self.spec.layers[0].synapses
        inputs = getattr(first.synapses if isinstance(first, Augmented) else first, "inputs", None)
        return inputs if isinstance(inputs, Map) else Map(height=1, width=1, channels=self.spec.inputs)

    def _layer(self, at: PlacedLayer, before: Map, *, flat: bool) -> tuple[Map, bool]:
        nir, index = self.nir, at.index
        if not isinstance(at.neuron, Lif | CubaLif):
            raise InputError(f"layers[{index}].neuron: {at.neuron.kind} cannot be said in NIR")
        whole = at.synapses
        synapses = whole.synapses if isinstance(whole, Augmented) else whole
        real = self.network.weights[index] / at.formats.one
        rows = synapses.weight_shape[0]
        weights, further = real[:rows], list(real[rows:])
        bias = further.pop() if whole.bias else None
        if flat and isinstance(synapses, Conv | SumPool):
            raise InputError(f"layers[{index}].synapses: {synapses.kind} behind neurons that are no map in NIR")
        if isinstance(synapses, SumPool) and isinstance(synapses.synapses, Conv | Dense):
            size = np.array([synapses.size] * 2)
            self.chain(f"pool_{index}", nir.SumPool2d(kernel_size=size, stride=size, padding=np.array([0, 0])))
            before, synapses = synapses.pooled, synapses.synapses
        if isinstance(synapses, Conv):
            kernel = weights.reshape(*synapses.kernel, synapses.inputs.channels, synapses.channels)
            self.chain(f"conv_{index}", nir.Conv2d(
                input_shape=before.size, weight=kernel.transpose(3, 2, 0, 1), stride=synapses.stride,
                padding=synapses.padding, dilation=1, groups=1,
                bias=np.zeros(synapses.channels) if bias is None else bias))
            after = synapses.outputs
        else:
            matrix = weights
            if not isinstance(synapses, Dense):
                matrix = _expanded(synapses, weights)
                self.unreached[str(index)] = weights[_left_out(synapses)].tolist()
            if not flat:
                self.chain(f"flatten_{index}", nir.Flatten({"input": np.array(_shape(before))}, 0, -1))
                matrix = _channel_first(matrix, before)
            after = Map(height=1, width=1, channels=synapses.n_out)
            self.chain(f"dense_{index}", nir.Linear(weight=matrix.T) if bias is None else
                       nir.Affine(weight=matrix.T, bias=bias))
        flat = after.height == after.width == 1
        shape = (after.channels,) if flat else _shape(after)
        self.chain(f"neurons_{index}", self._neurons(at, after, shape))
        if whole.recurrent:
            self.nodes[f"recurrent_{index}"] = nir.Linear(weight=np.array(further).T)
            self.edges += [(f"neurons_{index}", f"recurrent_{index}"), (f"recurrent_{index}", f"neurons_{index}")]
        return after, flat

    def _neurons(self, at: PlacedLayer, after: Map, shape: tuple[int, ...]) -> Any:
        nir, neuron, own = self.nir, at.neuron, self.network.layer_state(at.index)
        ones, one = np.ones(shape), at.formats.one << neuron.guard_bits

        def each(name: str, same: int | PerNeuron, unit: int) -> NDArray[np.float64]:
            """A parameter of all neurons, in NIR's shape."""
            numbers = own[name] if isinstance(same, PerNeuron) else np.full(after.neurons, same)
            return _channel_first(numbers[:, None] / unit, after).reshape(shape)

        if isinstance(neuron, Lif):
            kept, slow, reset = (1 - 2.0**-neuron.leak_shift) * ones, None, 0 * ones
            threshold = neuron.threshold_in(Phase.INFERENCE) / one * ones
        else:
            assert isinstance(neuron, CubaLif)
            kept, slow = _shares(each, "decays", neuron.potential_decay), neuron.current_decay
            threshold = each("thresholds", neuron.threshold, one)
            reset = each("reset_values", neuron.reset_value if neuron.reset is Reset.VALUE else 0, one)
        some = (kept < 1).any()
        if some and kept.max() == 1 and slow is None:
            raise InputError(f"layers[{at.index}].neuron: potentials some of which do not decay cannot be said in NIR")
        gains = {"r": 1 / (1 - kept)} if kept.max() < 1 else {}
        if not neuron.fires and slow is None:
            return nir.LI(tau=DEFAULT_DT / (1 - kept), v_leak=0 * ones, **gains) if some else nir.I(r=ones)
        if slow is not None:
            share = _shares(each, "current_decays", slow)
            if max(share.max(), kept.max()) == 1:
                raise InputError(f"layers[{at.index}].neuron: a current, or a potential with one, that does not decay "
                                 "cannot be said in NIR")
            slowed = {"tau_syn": DEFAULT_DT / (1 - share), "tau_mem": DEFAULT_DT / (1 - kept), "v_leak": 0 * ones,
                      "w_in": 1 / (1 - share), **gains}
            return nir.CubaLIF(**slowed, v_threshold=threshold, v_reset=reset) if neuron.fires else \
                nir.CubaLI(**slowed)
        if not some:
            return nir.IF(r=ones, v_threshold=threshold, v_reset=reset)
        if (kept == 0).all():
            return nir.Threshold(threshold=threshold)
        return nir.LIF(tau=DEFAULT_DT / (1 - kept), v_leak=0 * ones, v_threshold=threshold, v_reset=reset, **gains)


def _shares(each: Callable[[str, int | PerNeuron, int], NDArray[np.float64]], name: str, decay: Decay
            ) -> NDArray[np.float64]:
    """What is left of a value of each neuron."""
    return each(name, decay.numerator, 1 << decay.shift)


def graph_of(network: Network) -> Any:
    """A network as a ``nir.NIRGraph``: spikes in, spikes of the last layer out.

    Layers are ``conv_0`` or ``dense_0``, ``neurons_0`` and so on; synapses that NIR has no node for are matrices. The
    time step is 0.1 ms, and every gain is a time constant over it, so that weights are ours in units of 1.

    Raises
    ------
    InputError
        A layer cannot be said in NIR, or the ``nir`` package is missing; the message names it.
    """
    return _Writer(network).graph()


def restored(graph: Any) -> Network | None:
    """The network that a graph of :func:`graph_of` was made from; None where it is none, or something has changed."""
    metadata = getattr(graph, "metadata", None) or {}
    try:
        spec = NetworkSpec.from_json(json.loads(metadata[_KEY]), "metadata")
        unreached = json.loads(metadata[_UNREACHED])
        own = {name: [_parameters(graph.nodes[f"neurons_{owner}"], spec.at(owner), name)
                      for owner in spec.state_owners[name] if owner is not None]
               for name in spec.learnt_state if name != "weights"}
        network = Network(spec=spec, weights=[_weights(graph.nodes, at, unreached) for at in spec.placed], **own)
        return network if _equal(graph_of(network), graph) else None
    except (InputError, KeyError, AttributeError, ValueError, TypeError, IndexError, OverflowError, RecursionError):
        return None


def _weights(nodes: dict[str, Any], at: PlacedLayer, unreached: dict[str, list[list[float]]]) -> NDArray[np.int32]:
    """A layer's integers from its nodes."""
    whole, index = at.synapses, at.index
    synapses = whole.synapses if isinstance(whole, Augmented) else whole
    inner = synapses.synapses if isinstance(synapses, SumPool) and f"pool_{index}" in nodes else synapses
    name = f"conv_{index}" if isinstance(inner, Conv) else f"dense_{index}"
    values = np.asarray(nodes[name].weight, dtype=np.float64)
    if isinstance(inner, Conv):
        rows = values.transpose(2, 3, 1, 0).reshape(inner.weight_shape)
    else:
        rows = values.T
        if f"flatten_{index}" in nodes:
            channels, height, width = (int(each) for each in nodes[f"flatten_{index}"].input_type["input"])
            rows = np.moveaxis(rows.reshape(channels, height, width, -1), 0, 2).reshape(len(rows), -1)
        if not isinstance(inner, Dense):
            rows = _gathered(synapses, rows)
            left = _left_out(synapses)
            rows[left] = np.array(unreached.get(str(index), []), dtype=np.float64).reshape(len(left), rows.shape[1])
    parts = [rows]
    if whole.recurrent:
        parts.append(np.asarray(nodes[f"recurrent_{index}"].weight, dtype=np.float64).T)
    if whole.bias:
        parts.append(np.asarray(nodes[name].bias, dtype=np.float64)[None])
    return np.rint(np.concatenate(parts) * at.formats.one).astype(np.int32)


def _parameters(node: Any, at: PlacedLayer, name: str) -> NDArray[np.int64]:
    """An array of parameters that neurons have for themselves, from their node."""
    neuron, kind = at.neuron, type(node).__name__
    assert isinstance(neuron, CubaLif)
    if name == "thresholds":
        values = np.asarray(node.threshold if kind == "Threshold" else node.v_threshold)
    elif name == "reset_values":
        values = np.asarray(node.v_reset)
    elif kind in ("IF", "I", "Threshold"):
        values = np.full(at.n_out, kind != "Threshold", dtype=np.float64)
    else:
        tau = node.tau_syn if name == "current_decays" else node.tau_mem if "Cuba" in kind else node.tau
        values = 1 - DEFAULT_DT / np.asarray(tau)
    units = {"decays": neuron.potential_decay, "current_decays": neuron.current_decay}
    kept = units.get(name)
    unit = at.formats.one << neuron.guard_bits if kept is None else 1 << kept.shift
    if values.ndim > 1:     # channel first
        values = np.moveaxis(values, 0, -1)
    numbers: NDArray[np.int64] = np.rint(values.ravel() * unit).astype(np.int64)
    return numbers


def _left_out(synapses: Synapses) -> NDArray[np.int64]:
    """Rows of the weights by which nothing is reached, as padding leaves some: in a matrix they have no place."""
    reached = {target.row for source in range(synapses.n_before) for target in synapses.targets(source)}
    return np.array([row for row in range(synapses.weight_shape[0]) if row not in reached], dtype=np.int64)


def _gathered(synapses: Synapses, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of :func:`_expanded`; a row that nothing reaches is zero."""
    weights = np.zeros(synapses.weight_shape)
    columns = weights.shape[1]
    for source in range(synapses.n_before):
        for target in synapses.targets(source):
            weights[target.row] = matrix[source, target.first:target.first + columns]
    return weights


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two graphs hold the same nodes, numbers and edges."""
    if set(ours.nodes) != set(theirs.nodes) or \
            set(ours.edges) != {(str(start), str(end)) for start, end in theirs.edges}:
        return False
    for name, node in ours.nodes.items():
        other = theirs.nodes[name]
        if type(node) is not type(other):
            return False
        for field, value in vars(node).items():
            if field != "metadata" and not _same(value, getattr(other, field, None)):
                return False
    return True


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two parameters are equal, whatever they are kept in."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and set(ours) == set(theirs) and all(_same(ours[key], theirs[key])
                                                                             for key in ours)
    if ours is None or theirs is None:
        return ours is theirs
    a, b = np.asarray(ours), np.asarray(theirs)
    return bool(a.size == b.size and np.array_equal(a.ravel(), b.ravel()))
