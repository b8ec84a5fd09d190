"""Draws ``docs/architecture.svg`` from the design itself: what elaborates into what, and what streams connect.

``python docs/diagram.py`` writes it; ``tests/test_diagram.py`` draws it again and compares, so that it cannot go stale.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import patch

from amaranth.hdl import Fragment, Shape
from amaranth.lib import stream, wiring

from lifstream.golden.contract.network import NetworkSpec
from lifstream.golden.study.presets import preset_by_name
from lifstream.hdl.geometry import Geometry
from lifstream.hdl.host.core import Core

PLACE = Path(__file__).with_name("architecture.svg")


@dataclass(frozen=True)
class Block:
    """A component that is drawn, and the kinds of component that it consists of."""

    name: str
    kind: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """A stream between two of them."""

    source: str
    sink: str
    name: str
    bits: int


def elaborated(spec: NetworkSpec, geometry: Geometry) -> tuple[list[Block], list[Edge], list[str]]:
    """The core's blocks in the order of the data path, the streams between them, and which blocks are the network's."""
    joined: list[tuple[Any, Any]] = []
    connect = wiring.connect

    def recorded(m: Any, first: Any, second: Any) -> None:
        joined.append((first, second))
        connect(m, first, second)

    core = Core(spec=spec, geometry=geometry)
    users = [name for name, module in sys.modules.items()
             if name.startswith("lifstream.hdl") and getattr(module, "connect", None) is connect]
    patches = [patch(f"{name}.connect", recorded) for name in users]
    for each in patches:
        each.start()
    try:
        fragment = Fragment.get(core, None)
    finally:
        for each in patches:
            each.stop()
    top = _children(fragment)
    inner = _children(top["network"][1])
    order = ["reader", *(name for name in top if name not in ("reader", "network", "sender", "counters")), *inner,
             "sender", "counters"]
    found = {**top, **inner}
    blocks = [Block(name=name, kind=type(found[name][0]).__name__, parts=_parts(found[name][1])) for name in order]
    owners = {id(core): "", id(top["network"][0]): "", **{id(found[name][0]): name for name in order}}
    return blocks, _edges(joined, owners, {id(each): each for each in (core, *(each for each, _ in found.values()))}), \
        list(inner)


def _children(fragment: Fragment) -> dict[str, tuple[wiring.Component, Fragment]]:
    """The named components that a fragment holds."""
    found = {}
    for inner, name, _ in fragment.subfragments:
        component = next((each for each in inner.origins or () if isinstance(each, wiring.Component)), None)
        if name is not None and component is not None:
            found[name] = component, inner
    return found


def _parts(fragment: Fragment) -> tuple[str, ...]:
    """Names of a fragment's components, numbered ones once."""
    return tuple(dict.fromkeys(name.rstrip("0123456789").rstrip("_") for name in _children(fragment)))


def _streams(component: Any) -> Iterator[tuple[str, bool, Any]]:
    """The streams among a component's ports: name, whether it sends, payload."""
    for name, member in component.signature.members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            yield name, member.flow is wiring.Out, member.signature.members["payload"].shape


def _edges(joined: list[tuple[Any, Any]], owners: dict[int, str], components: dict[int, Any]) -> list[Edge]:
    """Streams from block to block; ports of what holds blocks are passed through."""
    ports = {}      # by the signal that both sides of a component's port share
    for key, component in components.items():
        for name, sends, payload in _streams(component):
            ports[id(getattr(component, name).valid)] = owners[key], name, sends, Shape.cast(payload).width
    reaches = defaultdict(list)
    for first, second in joined:
        one, other = id(first.valid), id(second.valid)
        reaches[one].append(other)
        reaches[other].append(one)
    edges = []
    for start, (owner, _, sends, bits) in ports.items():
        if not owner or not sends:
            continue
        seen, waiting = {start}, [start]
        while waiting:
            for place in reaches[waiting.pop()]:
                if place in seen or place not in ports:
                    continue
                seen.add(place)
                holder, port, _, _ = ports[place]
                if holder:
                    edges.append(Edge(source=owner, sink=holder, name=port, bits=bits))
                else:
                    waiting.append(place)
    return edges


# -- drawing -----------------------------------------------------------------------------------------------------------

_WIDTH, _GAP, _LINE, _MIDDLE = 118, 72, 13, 190
_STYLE = ("text{font:11px sans-serif;fill:#222}.name{font-weight:bold}.kind{fill:#555}.stream{font-size:9px;fill:#036}"
          "rect{fill:#f4f7fb;stroke:#345}.network{fill:none;stroke-dasharray:5 4}path{fill:none;stroke:#036}")


def drawn(spec: NetworkSpec, geometry: Geometry, title: str) -> str:
    """The picture as SVG."""
    blocks, edges, inner = elaborated(spec, geometry)
    left = {block.name: 20 + number * (_WIDTH + _GAP) for number, block in enumerate(blocks)}
    tall = 44 + _LINE * max(len(block.parts) for block in blocks)
    middle, lanes = _lanes(edges, list(left))
    bottom = middle + tall + 24 + 22 * max((lane for lane, _ in lanes.values() if lane < 0), default=0)
    under = max((-lane for lane, _ in lanes.values() if lane < 0), default=0)
    width, height = 20 + len(blocks) * (_WIDTH + _GAP), bottom + 22 * under + 22 * under + 20
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
             f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>",
             '<defs><marker id="tip" markerWidth="7" markerHeight="6" refX="6" refY="3" orient="auto">'
             '<path d="M0,0 L6,3 L0,6 z" style="fill:#036"/></marker></defs>',
             f'<rect class="network" x="{left[inner[0]] - 22}" y="{middle - 22}" rx="8" '
             f'width="{left[inner[-1]] - left[inner[0]] + _WIDTH + 44}" height="{tall + 44}"/>',
             f'<text x="{left[inner[0]] + _WIDTH + 8}" y="{middle - 8}">network</text>']
    for block in blocks:
        x = left[block.name]
        lines.append(f'<rect x="{x}" y="{middle}" width="{_WIDTH}" height="{tall}" rx="4"/>')
        lines.append(f'<text class="name" x="{x + 8}" y="{middle + 17}">{escape(block.name)}</text>')
        lines.append(f'<text class="kind" x="{x + 8}" y="{middle + 32}">{escape(block.kind)}</text>')
        lines += [f'<text x="{x + 14}" y="{middle + 48 + _LINE * row}">{escape(part)}</text>'
                  for row, part in enumerate(block.parts)]
    for edge in edges:
        lines += _arrow(edge, left, middle, tall, *lanes[edge])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _lanes(edges: list[Edge], order: list[str]) -> tuple[int, dict[Edge, tuple[int, int]]]:
    """Where each stream runs: 0 straight on, above (1, 2, ...), or below (-1, -2, ...), and a place at its blocks.

    Returns the height above the blocks too.
    """
    place = {name: number for number, name in enumerate(order)}
    lanes: dict[Edge, tuple[int, int]] = {}
    taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
    ends: dict[str, int] = defaultdict(int)
    for edge in sorted(edges, key=lambda each: abs(place[each.sink] - place[each.source])):
        low, high = sorted((place[edge.source], place[edge.sink]))
        forward = place[edge.sink] > place[edge.source]
        lane, step = (0, 1) if forward and high - low == 1 else (1, 1) if forward else (-1, -1)
        touch = 0 if lane == 0 else 1
        while any(low < other_high + touch and high > other_low - touch for other_low, other_high in taken[lane]):
            lane += step
        taken[lane].append((low, high))
        lanes[edge] = lane, ends[edge.source] * 7 + ends[edge.sink] * 3
        ends[edge.source] += 1
        ends[edge.sink] += 1
    return 40 + 22 * max(lane for lane, _ in lanes.values()), lanes


def _arrow(edge: Edge, left: dict[str, int], middle: int, tall: int, lane: int, shift: int) -> list[str]:
    label = f"{edge.name} ({edge.bits})"
    if lane == 0:
        start, end, y = left[edge.source] + _WIDTH, left[edge.sink], middle + 26
        return [f'<path d="M{start},{y} H{end - 1}" marker-end="url(#tip)"/>',
                f'<text class="stream" x="{start + 4}" y="{y - 5}">{escape(label)}</text>']
    shift %= 50
    start, end = left[edge.source] + 62 + shift, left[edge.sink] + 6 + shift
    from_y = middle if lane > 0 else middle + tall
    y = from_y - 28 - 22 * (lane - 1) if lane > 0 else from_y + 34 - 22 * (lane + 1)
    return [f'<path d="M{start},{from_y} V{y} H{end} V{from_y + (-1 if lane > 0 else 1)}" marker-end="url(#tip)"/>',
            f'<text class="stream" x="{min(start, end) + 6}" y="{y - 4}">{escape(label)}</text>']


def picture() -> str:
    """The picture of the architecture page: the network ``digits``, eight lanes."""
    return drawn(preset_by_name("digits").spec, Geometry(lanes=8), "The core of 64-32-10: blocks, parts, streams")


if __name__ == "__main__":
    PLACE.write_text(picture())
