"""Rewrites of a design on its way through synthesis: its memories as an FPGA family has them."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from lifstream.boards.targets import Family

__all__ = ["BEFORE_LOGIC", "absorb_output_registers", "adapted", "leave_collisions_open", "near_the_logic",
           "read_on_falling_edge"]

BEFORE_LOGIC = ("order",)
"""Memories read by a clock whose answers pass logic at once: in which order a sample has reached positions."""

_MEMORY_READ = re.compile(r"  cell \$memrd_v2 .*?\n  end\n", re.DOTALL)
_MEMORY_WRITE = re.compile(r"  cell \$memwr_v2 .*?\n  end\n", re.DOTALL)
_MODULE = re.compile(r"^module .*?^end\n", re.DOTALL | re.MULTILINE)
_WEIGHTS_CONTENT = re.compile(r'  cell \$meminit_v2 \S+\n    parameter \\MEMID "\\\\weights"\n.*?\n  end\n', re.DOTALL)


def read_on_falling_edge(design: str) -> str:
    """Let memories that are read without a clock be read on the falling edge.

    An iCE40 has no memory that reads without a clock. An address is a register's value or close behind one, and stands
    by the middle of the clock period; the word read then is the same, because writes happen on the rising edge, and
    is there for the rest of the period. So nothing else changes, and timing analysis checks both halves.

    Parameters
    ----------
    design
        RTLIL.
    """
    def in_module(module: re.Match[str]) -> str:
        text = module[0]
        clocks = {re.search(r"MEMID (\S+)", cell)[1]: re.search(r"connect \\CLK (\S+)", cell)[1]  # type: ignore[index]
                  for cell in _MEMORY_WRITE.findall(text)}

        def rewrite(match: re.Match[str]) -> str:
            cell = match[0]
            if "\\CLK_ENABLE 1" in cell:
                return cell
            clock = clocks[re.search(r"MEMID (\S+)", cell)[1]]     # type: ignore[index]
            for old, new in (("\\CLK_ENABLE 0", "\\CLK_ENABLE 1"), ("\\CLK_POLARITY 1", "\\CLK_POLARITY 0"),
                             ("connect \\CLK 1'0", f"connect \\CLK {clock}")):
                if old not in cell:
                    raise ValueError("a memory's read port is not written as expected")
                cell = cell.replace(old, new)
            return cell

        return _MEMORY_READ.sub(rewrite, text)

    return _MODULE.sub(in_module, design)


def leave_collisions_open(design: str) -> str:
    """Let a memory answer anything when a word is read on the very clock on which it is written.

    Otherwise synthesis builds registers, comparators and multiplexers around every block RAM, to answer with the old
    word. No answer of such a clock is ever used: a layer's weights are read or written, never both
    (:class:`lifstream.hdl.layer.lanes.LaneGroup`); a neuron's train is not read while its last spike is being recorded
    (:class:`lifstream.hdl.layer.frame.Frame` spaces them); the encoder loads one bank and plays the other; a frame
    is not written to while it is passed on or sent; the counters are read two ahead of the one that is written.
    A test simulates all of them with an unknown as the answer.

    Parameters
    ----------
    design
        RTLIL.
    """
    def rewrite(match: re.Match[str]) -> str:
        cell = match[0]
        if "\\CLK_ENABLE 1" not in cell:
            return cell
        return re.sub(r"\\COLLISION_X_MASK (\d+)'0+", lambda mask: f"\\COLLISION_X_MASK {mask[1]}'{'1' * int(mask[1])}",
                      cell)

    return _MEMORY_READ.sub(rewrite, design)


_SHORT_MEMORY = re.compile(rf"^  memory width \d+ size \d+ \\(?:{'|'.join(BEFORE_LOGIC)})$", re.MULTILINE)


def near_the_logic(design: str) -> str:
    """Let short memories whose answers still pass logic be made of LUTs.

    An ECP5's block RAM answers after 5.7 ns, and stands in one of few columns; LUTs that are memory answer after one,
    and stand beside the logic.

    Parameters
    ----------
    design
        RTLIL.
    """
    return _SHORT_MEMORY.sub(lambda memory: f'  attribute \\ram_style "distributed"\n{memory[0]}', design)


def adapted(design: str, family: Family) -> str:
    """RTLIL with its memories as a family's can be, before synthesis."""
    design = leave_collisions_open(design)
    if family is Family.ECP5:
        design = near_the_logic(design)
    if family is Family.ICE40:  # its single-port RAMs can have no initial zeros; the host loads the weights
        design = _WEIGHTS_CONTENT.sub("", read_on_falling_edge(design))
    return design


def absorb_output_registers(netlist: str) -> str:
    """Let an ECP5's block RAMs take over the registers that their answers go to.

    A block RAM has a register behind its output that is five nanoseconds nearer than any other; synthesis never uses
    it. It takes over a port's flip-flops if each bit the design uses goes to one of them and nowhere else, and they
    share the port's clock and one clock enable and have no reset. Ports of 36 bits, which take both halves' registers,
    are left alone.

    Parameters
    ----------
    netlist
        What yosys writes as JSON after synthesis.

    Returns
    -------
    The same with fewer flip-flops.
    """
    described = json.loads(netlist)
    for module in described["modules"].values():
        _absorb(module)
    return json.dumps(described)


def _absorb(module: dict[str, Any]) -> None:
    cells: dict[str, dict[str, Any]] = module.get("cells", {})
    rams = [cell for cell in cells.values() if cell["type"] == "DP16KD"]
    readers: Counter[object] = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    flip_flops: dict[object, str] = {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                readers.update(bits)
        if cell["type"] == "TRELLIS_FF":
            flip_flops[cell["connections"]["DI"][0]] = name
    for ram in rams:
        for port in "AB":
            pins = [pin for pin, bits in ram["connections"].items()
                    if pin.startswith(f"DO{port}") and bits and readers[bits[0]]]
            taken = [flip_flops.get(ram["connections"][pin][0], "") for pin in pins]
            if not pins or not all(taken) or any(readers[ram["connections"][pin][0]] != 1 for pin in pins):
                continue
            enables = {_enable(ram, port, cells[name]) for name in taken}
            if len(enables) != 1 or None in enables:
                continue
            ram["parameters"][f"REGMODE_{port}"] = "OUTREG"
            ram["connections"][f"OCE{port}"] = [enables.pop()]
            for pin, name in zip(pins, taken, strict=True):
                ram["connections"][pin] = cells.pop(name)["connections"]["Q"]


def _enable(ram: dict[str, Any], port: str, flip_flop: dict[str, Any]) -> object:
    """Clock enable of a flip-flop that a port's register can stand for; None if it cannot."""
    settings, pins = flip_flop["parameters"], flip_flop["connections"]
    wide = any(int(ram["parameters"][f"DATA_WIDTH_{each}"], 2) > 18 for each in "AB")
    alike = (pins["CLK"] == ram["connections"][f"CLK{port}"] and settings.get("CLKMUX", "CLK") == "CLK"
             and ram["parameters"][f"CLK{port}MUX"] == f"CLK{port}" and ram["parameters"][f"REGMODE_{port}"] == "NOREG"
             and pins.get("LSR", ["0"]) == ["0"] and settings.get("LSRMUX", "LSR") == "LSR"
             and settings.get("REGSET", "RESET") == "RESET")
    if wide or not alike:
        return None
    # A setting that reads like a number has a space behind it.
    return {"1": "1", "CE": pins.get("CE", ["1"])[0]}.get(settings.get("CEMUX", "1").strip())
