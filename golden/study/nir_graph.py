"""Networks in NIR, the neuromorphic intermediate representation (J. E. Pedersen et al., 2024), as chains of layers.

A graph is followed from its input to its output: linear nodes up to the next neurons are a layer's synapses. What
cannot be expressed is named with its node. Neurons are NIR's differential equations at a time step ``dt``; their gains
are put into the weights, so that every threshold is 1.
"""

from __future__ import annotations

import io
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.neurons import Comparison, Reset
from lifstream.golden.contract.readout import Potentials, Statistic
from lifstream.golden.contract.synapses import Augmented, Conv, Dense, Map, SumPool, Synapses
from lifstream.golden.contract.synapses.base import NEURONS_MAX
from lifstream.golden.files import is_there, replace_file
from lifstream.golden.study.real_network import RealLayer, RealNetwork, RealParameter

__all__ = ["DEFAULT_DT", "chain_of", "package", "read_graph", "write_graph"]

DEFAULT_DT = 1e-4
"""Time step, seconds, where neither the user nor the graph says another: that of the NIR paper's experiments."""

_NEURONS = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
_RESET_MAX = 1_000
"""Thresholds that a reset value is below rest at most."""
_SPREAD_MAX = 1_000
"""How much higher a threshold may be than another of its channel, in units of what a weight lifts the potential by."""
_SILENT = frozenset({"LI", "CubaLI", "I"})
"""Neurons that do not spike: their potentials are read, at the end of a graph."""


def package() -> Any:
    """The ``nir`` package; raises InputError where that extra is not installed."""
    try:
        import nir
    except ImportError:
        raise InputError("nir: the Python package is missing; install it with: pip install 'lifstream[nir]'") from None
    return nir


def read_graph(path: Path) -> Any:
    """The graph in a file, a ``nir.NIRGraph``.

    Raises
    ------
    InputError
        The ``nir`` package is missing, or the file, or it holds no graph.
    """
    nir = package()
    if not is_there(path):
        raise InputError(f"{path}: no such file")
    try:
        return nir.read(str(path), type_check=False)  # shapes are checked node by node, as they are needed
    except Exception as error:  # whatever HDF5 and the package say of a file that is none
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{path}: holds no NIR graph ({reason})") from None


def write_graph(path: Path, graph: Any) -> None:
    """Write a graph whole or not at all; raises InputError when ``path`` cannot be written."""
    content = io.BytesIO()
    package().write(content, graph)
    with replace_file(path) as stream:
        stream.write(content.getvalue())


@dataclass(frozen=True, kw_only=True)
class _Signal:
    """What leaves a node: the neurons, and whether their NIR index has been flattened."""

    map: Map
    """In our order, channel last."""
    flat: bool
    """NIR's index runs over all of them, channel first."""


@dataclass(frozen=True, kw_only=True)
class _Linear:
    """Linear nodes on the way to a layer's neurons, put together: the synapses, weights and bias so far."""

    signal: _Signal
    """Where the way begins, pooled."""
    pooled: tuple[Map, int] | None = None
    """The map that is summed over squares first, and the side of one."""
    gain: NDArray[np.float64] | None = None
    """Factor of each neuron of the signal, before any weight, in our order."""
    synapses: Synapses | None = None
    weights: NDArray[np.float64] | None = None
    bias: NDArray[np.float64] | None = None
    """Of each postsynaptic neuron, or column of a map."""


def _flattened(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges of a graph, those of its subgraphs among them: a subgraph's input and output are only names."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    entrances: dict[str, list[str]] = {}
    exits: dict[str, list[str]] = {}
    for name, node in graph.nodes.items():
        if type(node).__name__ == "NIRGraph":
            inner, inner_edges = _flattened(node, f"{prefix}{name}.")
            if any((_kind(inner.get(source)), _kind(inner.get(target))) == ("Input", "Output")
                   for source, target in inner_edges):
                raise InputError(f"node {prefix}{name}: leads straight from its input to its output")
            ends = {kind: {key for key, each in inner.items() if type(each).__name__ == kind}
                    for kind in ("Input", "Output")}
            entrances[name] = [target for source, target in inner_edges if source in ends["Input"]]
            exits[name] = [source for source, target in inner_edges if target in ends["Output"]]
            dropped = ends["Input"] | ends["Output"]
            for key, each in inner.items():
                if key not in dropped:
                    _add(nodes, key, each)
            edges += [edge for edge in inner_edges if not dropped & set(edge)]
        else:
            _add(nodes, f"{prefix}{name}", node)
    for source, target in graph.edges:
        edges += [(start, end) for start in exits.get(source, [f"{prefix}{source}"])
                  for end in entrances.get(target, [f"{prefix}{target}"])]
    return nodes, list(dict.fromkeys(edges))


def _add(nodes: dict[str, Any], name: str, node: Any) -> None:
    if name in nodes:
        raise InputError(f"node {name}: there are two of that name, one of them in a subgraph")
    nodes[name] = node


def _kind(node: Any) -> str:
    return type(node).__name__


def _real(values: Any, what: str) -> NDArray[np.float64]:
    """A parameter as finite real numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or not array.size:
        raise InputError(f"{what} holds no real numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds a number that is not finite")
    return array


def _integers(values: Any, what: str, *, low: int, count: tuple[int, ...]) -> tuple[int, ...]:
    """A parameter as integers, as many as one of ``count``."""
    array = _real(values, what).ravel()
    if len(array) not in count or (array != np.floor(array)).any() or array.min() < low or array.max() > NEURONS_MAX:
        shown = ", ".join(f"{each:g}" for each in array[:4])
        raise InputError(f"{what} is {shown}, must be whole numbers of {low}..{NEURONS_MAX}, "
                         f"{' or '.join(map(str, count))} of them")
    return tuple(int(each) for each in array)


def _signal_of(values: Any, where: str) -> _Signal:
    """Neurons of an input's shape: (n,), (channels, n) or (channels, height, width)."""
    try:
        axes = np.asarray(values).size
        if not 1 <= axes <= 3:
            raise InputError(f"the shape {np.asarray(values).tolist()} has {axes} axes, supported are 1 to 3")
        shape = _integers(values, "the shape", low=1, count=(1, 2, 3))
        height, width = (1, 1, *shape[1:])[-2:]
        return _Signal(map=Map(height=height, width=width, channels=shape[0]), flat=len(shape) == 1)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _in_our_order(values: NDArray[np.float64], signal: _Signal) -> NDArray[np.float64]:
    """An array whose first axis is NIR's neurons of the signal, channel first: ours, channel last."""
    size = signal.map
    by_axis = values.reshape(size.channels, size.height, size.width, *values.shape[1:])
    return np.moveaxis(by_axis, 0, 2).reshape(values.shape)


def _pair(values: Any, what: str, *, one: bool, low: int) -> tuple[int, int]:
    """A parameter of a 2-d node, down and right, or of a 1-d one."""
    shape = _integers(values, what, low=low, count=(1,) if one else (1, 2))
    return low if one else shape[0], shape[-1]     # down there is nothing to stride, dilate or pad: 1, 1, 0


class _Reader:
    """A graph on its way to a chain."""

    def __init__(self, graph: Any, *, dt: float | None, reset: Reset | None, statistic: Statistic | None) -> None:
        self.nodes, edges = _flattened(graph)
        self.after: dict[str, list[str]] = defaultdict(list)
        for source, target in edges:
            for name in (source, target):
                if name not in self.nodes:
                    raise InputError(f"node {name}: an edge names it, and there is none")
            if _kind(self.nodes[target]) == "Input" or _kind(self.nodes[source]) == "Output":
                raise InputError(f"node {target if _kind(self.nodes[target]) == 'Input' else source}: an edge leads "
                                 "into the input, or out of the output")
            self.after[source].append(target)
        self.reset, self.statistic = reset, statistic
        self.notes: list[str] = []
        self.passed: set[str] = set()
        """Linear nodes that have been followed."""
        self.discrete = False
        """The graph was discrete before: a decay is 1 - dt / tau. Otherwise it is the exact exp(-dt / tau)."""
        self.dt = self._time_step(dt)

    def _time_step(self, dt: float | None) -> float:
        if dt is not None and not (math.isfinite(dt) and dt > 0):
            raise InputError(f"--dt: {dt} is no time step; give seconds above 0")
        found = self._step_in_gains()
        self.discrete = found is not None and (dt is None or math.isclose(dt, found, rel_tol=1e-3))
        if self.discrete and found is not None:
            self.notes.append(f"time step {found:g} s: every gain is a time constant over that, so decays are "
                              "1 - dt / tau")
            return found
        self.notes.append(f"time step {DEFAULT_DT:g} s, the default; --dt gives another" if dt is None else
                          f"time step {dt:g} s, as given")
        return DEFAULT_DT if dt is None else dt

    def _step_in_gains(self) -> float | None:
        """The time step that exporters of discrete networks put into resistances and input weights: r = tau / dt."""
        steps = []
        synaptic = False
        for name, node in self.nodes.items():
            if (kind := _kind(node)) in ("LIF", "CubaLIF", "LI", "CubaLI"):
                tau = _real(node.tau_mem if kind.startswith("Cuba") else node.tau, f"node {name}: a time constant")
                steps.append(np.ravel(tau / _real(node.r, f"node {name}: r")))
            if kind.startswith("Cuba"):
                steps.append(np.ravel(_real(node.tau_syn, f"node {name}: tau_syn") / _real(
                    node.w_in, f"node {name}: w_in")))
                synaptic = True
        if not steps:
            return None
        found = np.concatenate(steps)
        step = float(np.median(found))
        told = math.isfinite(step) and step > 0 and np.allclose(found, step, rtol=1e-3, atol=0)
        # One resistance alone may be any; two gains that agree, or a customary step, are no accident.
        return step if told and (synaptic or any(math.isclose(step, usual, rel_tol=1e-3)
                                                 for usual in (1e-4, 1e-3))) else None

    def chain(self) -> RealNetwork:
        """The layers from the input on."""
        inputs = [name for name, node in self.nodes.items() if _kind(node) == "Input"]
        if len(inputs) != 1:
            raise InputError(f"graph: {len(inputs)} inputs ({', '.join(inputs) or 'none'}), exactly one is supported")
        start, = inputs
        outputs = [name for name, node in self.nodes.items() if _kind(node) == "Output"]
        if len(outputs) != 1:
            raise InputError(f"graph: {len(outputs)} outputs ({', '.join(outputs) or 'none'}), exactly one is "
                             "supported")
        layers: list[RealLayer] = []
        signal = _signal_of(self.nodes[start].input_type["input"], f"node {start}")
        entrance = signal.map
        way = self._way(start, signal)
        while way is not None:
            name, linear = way
            if any(layer.name == name for layer in layers):
                raise InputError(f"node {name}: a way leads back to it over other neurons; only neurons' own spikes "
                                 "may come back to them")
            layer, signal = self._layer(name, linear)
            layers.append(layer)
            way = self._way(name, signal) if _kind(self.nodes[name]) != "Output" else None
            if way is not None and layer.comparison is Comparison.NEVER:
                raise InputError(f"node {name} ({_kind(self.nodes[name])}): does not spike, and other neurons are "
                                 "behind it; such neurons can only be last")
        if not layers:
            raise InputError("graph: no neurons between input and output")
        silent, summed = layers[-1].comparison is Comparison.NEVER, _kind(self.nodes[layers[-1].name]) == "Output"
        statistic = self.statistic or (Statistic.MEAN if summed else Statistic.MAXIMUM if silent else None)
        if summed:
            self.notes.append(f"node {layers[-1].name}: linear nodes are in front of it; what comes out of them in a "
                              "step is taken as potentials of neurons that remember nothing")
        if statistic is not None:
            if not layers[-1].synapses.all_to_all:
                raise InputError(f"node {layers[-1].name}: its potentials are read, and it is a map; flatten it in "
                                 "front of a matrix")
            self.notes.append(f"the answer is the {Potentials(statistic=statistic).response} of each neuron of "
                              f"{layers[-1].name}"
                              + ("" if self.statistic else "; --readout gives another"))
        seen = {start, *self.passed, *(layer.name for layer in layers)}
        if left := [name for name in self.nodes if name not in seen and _kind(self.nodes[name]) != "Output"]:
            raise InputError(f"node {left[0]} ({_kind(self.nodes[left[0]])}): is on no way from the input to the "
                             "output")
        return RealNetwork(map=entrance, layers=tuple(layers), statistic=statistic, notes=tuple(self.notes))

    # -- ways -------------------------------------------------------------------------------------

    def _way(self, start: str, signal: _Signal) -> tuple[str, _Linear] | None:
        """From neurons, or the input, to the next neurons, or over linear nodes to the output; None where nothing is
        between."""
        onward = [target for target in self.after[start] if not self._returns(target, start)]
        if len(onward) != 1:
            kinds = f"{len(onward)} ways go on ({', '.join(onward)})" if onward else "nothing follows it"
            raise InputError(f"node {start}: {kinds}, exactly one is supported beside a recurrent one")
        at, linear = onward[0], _Linear(signal=signal)
        while _kind(self.nodes[at]) not in _NEURONS | _SILENT:
            node = self.nodes[at]
            if _kind(node) == "Output":
                plain = linear.synapses is None and linear.pooled is None and linear.gain is None
                return None if plain else (at, linear)
            if at in self.passed:
                raise InputError(f"node {at} ({_kind(node)}): a way leads back to it without neurons between")
            self.passed.add(at)
            linear = self._extended(linear, at, node)
            following = self.after[at]
            if len(following) != 1:
                raise InputError(f"node {at} ({_kind(node)}): leads to {len(following)} nodes, exactly one is "
                                 "supported")
            at = following[0]
        return at, linear

    def _returns(self, target: str, own: str) -> bool:
        """Whether a way through linear nodes leads back to the neurons it came from."""
        seen: set[str] = set()
        while target != own:
            if target in seen or _kind(self.nodes[target]) in _NEURONS | _SILENT or len(self.after[target]) != 1:
                return False
            seen.add(target)
            target = self.after[target][0]
        return True

    def _recurrent(self, name: str, neurons: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Weights, (n, n), and bias of the neurons' way back to themselves."""
        ways = [target for target in self.after[name] if self._returns(target, name)]
        if not ways:
            return None
        if len(ways) > 1:
            raise InputError(f"node {name}: {len(ways)} ways lead back to it ({', '.join(ways)}), at most one is "
                             "supported")
        (at,), linear = ways, _Linear(signal=_Signal(map=Map(height=1, width=1, channels=neurons), flat=True))
        if at == name:
            return np.eye(neurons), np.zeros(neurons)
        while at != name:
            self.passed.add(at)
            linear = self._extended(linear, at, self.nodes[at])
            at = self.after[at][0]
        linear = _with_weights(linear)
        if not isinstance(linear.synapses, Dense) or linear.synapses.outputs != neurons or linear.weights is None:
            raise InputError(f"node {name}: what leads back to it is no matrix of {neurons} by {neurons}")
        return linear.weights, np.zeros(neurons) if linear.bias is None else linear.bias

    # -- linear nodes -----------------------------------------------------------------------------

    def _extended(self, before: _Linear, name: str, node: Any) -> _Linear:
        where, kind = f"node {name} ({_kind(node)})", _kind(node)
        try:
            if kind in ("Affine", "Linear"):
                return _dense(before, _real(node.weight, "weight"),
                              _real(node.bias, "bias") if kind == "Affine" else None)
            if kind == "Scale":
                return _scaled(before, _real(node.scale, "scale"))
            if kind in ("Conv1d", "Conv2d"):
                return _convolved(before, node, one=kind == "Conv1d")
            if kind in ("SumPool2d", "AvgPool2d"):
                return _pooled(before, node, mean=kind == "AvgPool2d")
            if kind == "Flatten":
                return _flat(before)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        raise InputError(f"{where}: is not supported; what is: Affine, Linear, Scale, Conv1d, Conv2d, SumPool2d, "
                         f"AvgPool2d, Flatten, {', '.join(sorted(_NEURONS | _SILENT))}")

    # -- neurons ----------------------------------------------------------------------------------

    def _layer(self, name: str, linear: _Linear) -> tuple[RealLayer, _Signal]:
        node, where = self.nodes[name], f"node {name} ({_kind(self.nodes[name])})"
        linear = _with_weights(linear)
        synapses, weights = linear.synapses, linear.weights
        assert synapses is not None
        assert weights is not None
        inner = synapses.synapses if isinstance(synapses, SumPool) else synapses
        signal = _Signal(map=inner.outputs, flat=False) if isinstance(inner, Conv) else \
            _Signal(map=Map(height=1, width=1, channels=synapses.n_out), flat=True)
        neuron = self._neuron(node, where, signal)
        columns = weights.shape[1]
        what = f"{where}: threshold and resistance"
        # Where potentials are read, all are in one unit.
        gain, threshold = _gains(neuron.gain, synapses, what) if neuron.comparison is not Comparison.NEVER else \
            (_by_column(neuron.gain, synapses, what), 1.0)
        bias = np.zeros(columns) if linear.bias is None else linear.bias
        recurrent = self._recurrent(name, synapses.n_out)
        rows = [weights]
        if recurrent is not None:
            if not synapses.all_to_all:
                raise InputError(f"{where}: is recurrent behind a map; only behind dense weights it can be")
            rows.append(recurrent[0])
            bias = bias + recurrent[1]
        if bias.any():
            rows.append(bias[None])
        if len(rows) > 1:
            synapses = Augmented(synapses=synapses, recurrent=recurrent is not None, bias=bool(bias.any()))
        return RealLayer(name=name, synapses=synapses, weights=np.concatenate(rows) * gain,
                         potential_decay=neuron.potential_decay, current_decay=neuron.current_decay,
                         threshold=threshold, comparison=neuron.comparison, reset=neuron.reset,
                         reset_value=_shared(neuron.reset_value * threshold)), signal

    def _decay(self, tau: Any, signal: _Signal, where: str) -> NDArray[np.float64]:
        distinct, places = np.unique(_real(tau, f"{where}: a time constant"), return_inverse=True)
        if distinct[0] <= 0:
            raise InputError(f"{where}: time constant {distinct[0]:g} s, must be above 0")
        kept = np.array([1 - self.dt / value if self.discrete and self.dt <= value else math.exp(-self.dt / value)
                         for value in distinct.tolist()])
        return self._values(kept[0] if len(kept) == 1 else kept[places], signal, where)

    def _neuron(self, node: Any, where: str, signal: _Signal) -> _NeuronForm:
        kind = _kind(node)
        if kind == "Output":
            return _NeuronForm(gain=np.ones(signal.map.neurons), potential_decay=0.0, current_decay=None,
                               reset=Reset.SUBTRACT, reset_value=np.zeros(signal.map.neurons),
                               comparison=Comparison.NEVER)
        if kind in _SILENT:
            return self._integrator(node, where, signal)
        threshold = self._values(node.threshold if kind == "Threshold" else node.v_threshold, signal, where)
        if kind == "Threshold":
            return _NeuronForm(gain=1 / _positive(threshold, where), potential_decay=0.0, current_decay=None,
                               reset=Reset.VALUE, reset_value=np.zeros_like(threshold))
        leak = self._values(getattr(node, "v_leak", 0.0), signal, where)
        given = getattr(node, "v_reset", None)
        level = self._values(0.0 if given is None else given, signal, where)
        height = _positive(threshold - leak, where)     # potentials are counted from v_leak
        gain, potential_decay, current_decay = self._dynamics(node, where, signal)
        reset, value = self.reset or Reset.VALUE, np.zeros_like(height)
        if reset is Reset.VALUE:
            value = (level - leak) / height
            for outside in value[~((value >= -_RESET_MAX) & (value < 1))]:
                raise InputError(f"{where}: v_reset is {outside:.4g} thresholds, must be -{_RESET_MAX} or more, and "
                                 "below 1")
        if given is None:
            self.notes.append(f"{where}: has no v_reset; taken as 0")
        return _NeuronForm(gain=gain / height, potential_decay=potential_decay, current_decay=current_decay,
                           reset=reset, reset_value=value)

    def _integrator(self, node: Any, where: str, signal: _Signal) -> _NeuronForm:
        """Neurons that do not spike: potentials in the graph's units, counted from v_leak, which all must share to be
        compared."""
        _one(getattr(node, "v_leak", 0.0), f"{where}: resting potentials, v_leak,")
        gain, potential_decay, current_decay = self._dynamics(node, where, signal)
        return _NeuronForm(gain=gain, potential_decay=potential_decay, current_decay=current_decay,
                           reset=Reset.SUBTRACT, reset_value=np.zeros_like(gain), comparison=Comparison.NEVER)

    def _dynamics(self, node: Any, where: str, signal: _Signal
                  ) -> tuple[NDArray[np.float64], RealParameter, RealParameter | None]:
        """By how much a spike of weight 1 lifts a potential, (n,), and what decays of potential and current."""
        kind = _kind(node)
        gain = self._values(node.r, signal, where)  # a spike is an impulse: it lifts the potential by r * w
        kept, current_decay = np.ones_like(gain), None
        if kind not in ("IF", "I"):
            kept = self._decay(node.tau_mem if kind.startswith("Cuba") else node.tau, signal, where)
            gain = (1 - kept) * gain
        if kind.startswith("Cuba"):
            current_kept = self._decay(node.tau_syn, signal, where)
            gain = gain * (1 - current_kept) * self._values(node.w_in, signal, where)
            current_decay = _shared(current_kept)
        return gain, _shared(kept), current_decay

    def _values(self, values: Any, signal: _Signal, where: str) -> NDArray[np.float64]:
        """A parameter of each neuron, in our order."""
        array = _real(values, f"{where}: a parameter")
        if array.size == 1:
            return np.full(signal.map.neurons, float(array.ravel()[0]))
        if array.size != signal.map.neurons:
            raise InputError(f"{where}: parameters of {array.size} neurons, its input has {signal.map.neurons}")
        return _in_our_order(array.ravel(), signal)


@dataclass(frozen=True, kw_only=True)
class _NeuronForm:
    """Neurons in steps; ``gain`` is what a weight is multiplied with, (n,), in units of the threshold, and so is
    ``reset_value``."""

    gain: NDArray[np.float64]
    potential_decay: RealParameter
    current_decay: RealParameter | None
    reset: Reset
    reset_value: NDArray[np.float64]
    comparison: Comparison = Comparison.ABOVE


def _shared(values: NDArray[np.float64]) -> RealParameter:
    """One value for all neurons, where they hardly differ; otherwise those of each."""
    return float(values[0]) if np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())) else values


def _one(values: Any, where: str) -> float:
    found = np.unique(_real(values, where))
    if found.max() - found.min() > 1e-9 * abs(found.max()):
        raise InputError(f"{where} differ between neurons ({found.min():g} to {found.max():g}); one is supported")
    return float(found[0])


def _gains(gain: NDArray[np.float64], synapses: Synapses, what: str) -> tuple[NDArray[np.float64], RealParameter]:
    """Factors of the columns of the weights, from a gain of each neuron, and the thresholds that are left.

    Where neurons share weights and have unlike gains, the largest goes into the weights; the potentials of the others
    are counted in larger units, and so is their threshold.
    """
    by_position = gain.reshape(synapses.positions, -1)
    if np.ptp(by_position, axis=0).max() <= 1e-9 * np.abs(by_position).max():
        return by_position[0], 1.0
    largest = by_position[np.abs(by_position).argmax(axis=0), np.arange(by_position.shape[1])]
    thresholds = np.where(largest == 0, 1.0, largest / np.where(largest == 0, 1.0, by_position))
    if not ((thresholds > 0) & (thresholds <= _SPREAD_MAX)).all():
        raise InputError(f"{what} differ between the places of a channel, whose weights are shared, by more than a "
                         f"factor of {_SPREAD_MAX:,}")
    return largest, thresholds.ravel()


def _positive(threshold: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    if (threshold <= 0).any():
        raise InputError(f"{where}: a threshold is {threshold.min():g} above its resting potential, must be above 0")
    return threshold


def _by_column(values: NDArray[np.float64], synapses: Synapses, what: str) -> NDArray[np.float64]:
    """A value per column of the weights, from one per neuron."""
    by_position = values.reshape(synapses.positions, -1)
    if np.ptp(by_position, axis=0).max() > 1e-9 * np.abs(by_position).max():
        raise InputError(f"{what} differ between the places of a channel, whose weights are shared")
    column: NDArray[np.float64] = by_position[0]
    return column


# -- linear nodes -------------------------------------------------------------------------------------


def _dense(before: _Linear, matrix: NDArray[np.float64], bias: NDArray[np.float64] | None) -> _Linear:
    """A matrix, (out, in), behind."""
    if matrix.ndim != 2:
        raise InputError(f"weights of the shape {matrix.shape}, expected a matrix")
    weights = matrix.T
    added = None if bias is None else _bias(bias, weights.shape[1])
    if before.synapses is not None:
        if not isinstance(before.synapses, Dense) or before.weights is None:
            raise InputError("follows a convolution without neurons between; only matrices can follow each other")
        if before.synapses.outputs != len(weights):
            raise InputError(f"takes {len(weights)} inputs, {before.synapses.outputs} are before it")
        through = None if before.bias is None else before.bias @ weights
        total = through if added is None else added if through is None else through + added
        return replace(before, synapses=Dense(inputs=before.synapses.inputs, outputs=weights.shape[1]),
                       weights=before.weights @ weights, bias=total)
    size = before.signal.map
    if len(weights) != size.neurons:
        raise InputError(f"takes {len(weights)} inputs, {size.neurons} are before it")
    weights = _in_our_order(weights, before.signal)
    if before.gain is not None:
        weights = before.gain[:, None] * weights
    return replace(before, synapses=_behind_pool(before, Dense(inputs=size.neurons, outputs=weights.shape[1])),
                   weights=weights, bias=added, gain=None)


def _bias(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """A bias of each of so many neurons or channels."""
    if values.size not in (1, count) or values.ndim > 1:
        raise InputError(f"a bias of the shape {values.shape}, expected ({count},)")
    return np.broadcast_to(values.ravel(), (count,)).astype(np.float64)


def _behind_pool(before: _Linear, synapses: Dense | Conv) -> Synapses:
    if before.pooled is None:
        return synapses
    inputs, size = before.pooled
    return SumPool(inputs=inputs, size=size, synapses=synapses)


def _scaled(before: _Linear, scale: NDArray[np.float64]) -> _Linear:
    if before.synapses is not None and before.weights is not None:
        inner = before.synapses.synapses if isinstance(before.synapses, SumPool) else before.synapses
        signal = _Signal(map=inner.outputs, flat=False) if isinstance(inner, Conv) else \
            _Signal(map=Map(height=1, width=1, channels=inner.n_out), flat=True)
        factors = np.full(inner.n_out, float(scale.ravel()[0])) if scale.size == 1 else _sized(scale, signal)
        column = _by_column(factors, inner, "factors")
        return replace(before, weights=before.weights * column, bias=None if before.bias is None else
                       before.bias * column)
    neurons = before.signal.map.neurons
    factors = np.full(neurons, float(scale.ravel()[0])) if scale.size == 1 else _sized(scale, before.signal)
    return replace(before, gain=factors if before.gain is None else before.gain * factors)


def _sized(values: NDArray[np.float64], signal: _Signal) -> NDArray[np.float64]:
    if values.size != signal.map.neurons:
        raise InputError(f"{values.size} factors for {signal.map.neurons} neurons")
    return _in_our_order(values.ravel(), signal)


def _convolved(before: _Linear, node: Any, *, one: bool) -> _Linear:
    if before.synapses is not None:
        raise InputError("follows other weights without neurons between")
    kernel = _real(node.weight, "weight")
    if kernel.ndim != (3 if one else 4):
        raise InputError(f"weights of the shape {kernel.shape}, expected {3 if one else 4} axes")
    if one:
        kernel = kernel[:, :, None, :]
    size, (groups,) = before.signal.map, _integers(node.groups, "groups", low=1, count=(1,))
    if before.signal.flat and size.neurons != 1:
        raise InputError("is behind a vector, not a map")
    if kernel.shape[1] * groups != size.channels or kernel.shape[0] % groups:
        raise InputError(f"weights of the shape {np.shape(node.weight)} in {groups} groups, the map before has "
                         f"{size.channels} channels")
    whole = np.zeros((kernel.shape[0], size.channels, *kernel.shape[2:]))
    each_out, each_in = kernel.shape[0] // groups, kernel.shape[1]
    for group in range(groups):
        out, into = slice(group * each_out, (group + 1) * each_out), slice(group * each_in, (group + 1) * each_in)
        whole[out, into] = kernel[out]
    down, right = _pair(node.dilation, "dilation", one=one, low=1)
    stride = _pair(node.stride, "stride", one=one, low=1)
    extent = ((whole.shape[2] - 1) * down + 1, (whole.shape[3] - 1) * right + 1)
    padding = _padding(node.padding, extent, one=one)
    for axis, reach, side, beyond in zip(("height", "width"), extent, size.size, padding, strict=True):
        if reach > side + 2 * beyond:
            raise InputError(f"its kernel spans {reach} of the {axis}, the padded map has {side + 2 * beyond}")
    spread = np.zeros((*whole.shape[:2], *extent))
    spread[:, :, ::down, ::right] = whole
    synapses = Conv(inputs=size, channels=spread.shape[0], kernel=(spread.shape[2], spread.shape[3]), stride=stride,
                    padding=padding)
    rows = spread.transpose(2, 3, 1, 0).reshape(-1, spread.shape[0])
    if before.gain is not None:
        by_place = before.gain.reshape(-1, size.channels)
        if np.ptp(by_place, axis=0).max() > 0:
            raise InputError("factors before it differ between the places of a channel, whose weights are shared")
        rows = np.tile(by_place[0], len(rows) // size.channels)[:, None] * rows
    bias = None if node.bias is None else _bias(_real(node.bias, "bias"), spread.shape[0])
    return replace(before, synapses=_behind_pool(before, synapses), weights=rows, gain=None, bias=bias)


def _padding(padding: Any, kernel: tuple[int, ...], *, one: bool) -> tuple[int, int]:
    if isinstance(padding, str | np.str_):
        if padding == "valid":
            return 0, 0
        if padding == "same" and all(extent % 2 for extent in kernel):
            return kernel[0] // 2, kernel[1] // 2
        raise InputError(f"padding {str(padding)!r} of a kernel of {kernel[0]}x{kernel[1]} is not the same on both "
                         "sides")
    return _pair(padding, "padding", one=one, low=0)


def _pooled(before: _Linear, node: Any, *, mean: bool) -> _Linear:
    if before.synapses is not None:
        raise InputError("follows weights without neurons between")
    if before.pooled is not None:
        raise InputError("follows another pool; give one of both sizes")
    size, stride = (_pair(values, what, one=False, low=1) for values, what in (
        (node.kernel_size, "kernel_size"), (node.stride, "stride")))
    padding = _pair(node.padding, "padding", one=False, low=0)
    if size != stride or size[0] != size[1] or any(padding):
        raise InputError(f"a window of {size[0]}x{size[1]}, stride {stride[0]}x{stride[1]}, padding "
                         f"{padding[0]}x{padding[1]}; supported are squares as far apart as they are "
                         "large, without padding")
    inputs = before.signal.map
    if inputs.height % size[0] or inputs.width % size[1]:
        raise InputError(f"{size[0]} does not divide the map of {inputs}")
    if before.gain is not None and np.ptp(before.gain) > 0:
        raise InputError("factors before it differ between neurons")
    pooled = Map(height=inputs.height // size[0], width=inputs.width // size[1], channels=inputs.channels)
    factor = (1.0 if before.gain is None else float(before.gain[0])) / (size[0] * size[1] if mean else 1)
    return replace(before, signal=_Signal(map=pooled, flat=False), pooled=(inputs, size[0]) if size[0] > 1 else None,
                   gain=None if factor == 1 else np.full(pooled.neurons, factor))


def _flat(before: _Linear) -> _Linear:
    if before.synapses is not None:
        return before   # what follows must be neurons, and their parameters are flat too
    return replace(before, signal=replace(before.signal, flat=True))


def _with_weights(linear: _Linear) -> _Linear:
    """Neurons right behind others, or behind a pool: each has one synapse of weight 1."""
    if linear.synapses is not None:
        return linear
    size = linear.signal.map
    if size.height * size.width > 1:    # a kernel of one, channel by channel
        weights = np.eye(size.channels)
        synapses: Dense | Conv = Conv(inputs=size, channels=size.channels, kernel=(1, 1))
        if linear.gain is not None:
            by_place = linear.gain.reshape(-1, size.channels)
            if np.ptp(by_place, axis=0).max() > 0:
                raise InputError("factors differ between the places of a channel")
            weights = weights * by_place[0]
    else:
        weights = np.diag(np.ones(size.neurons) if linear.gain is None else linear.gain)
        synapses = Dense(inputs=size.neurons, outputs=size.neurons)
    return replace(linear, synapses=_behind_pool(linear, synapses), weights=weights, gain=None)


def chain_of(graph: Any, *, dt: float | None = None, reset: Reset | None = None,
             statistic: Statistic | None = None) -> RealNetwork:
    """A graph as a chain of layers.

    Parameters
    ----------
    graph
        A ``nir.NIRGraph``.
    dt
        Time step, seconds; None: what the graph's own resistances say, or :data:`DEFAULT_DT`.
    reset
        What spikes do; None: NIR's own, the potential becomes ``v_reset``. Subtraction is what several exporters
        mean who cannot say it.
    statistic
        What is read of the last neurons' potentials; None: of neurons that do not spike the maximum, of others their
        spikes are counted.

    Raises
    ------
    InputError
        Something cannot be done; the message names the node.
    """
    with np.errstate(all="ignore"):     # what is not finite is refused
        return _Reader(graph, dt=dt, reset=reset, statistic=statistic).chain()
