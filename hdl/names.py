"""Names and comments that go into text of other languages."""

from __future__ import annotations

import re

from lifstream.golden.contract.errors import InputError

__all__ = ["check_name", "comment"]

_LENGTH = 64

_RESERVED = """
    abs accept_on access after alias all always always_comb always_ff always_latch and architecture array assert assign
    assume assume_guarantee attribute automatic before begin bind bins binsof bit block body break buf buffer bufif0
    bufif1 bus byte case casex casez cell chandle checker class clocking cmos component config configuration const
    constant constraint context continue cover covergroup coverpoint cross deassign default defparam design disable
    disconnect dist do downto edge else elsif end endcase endchecker endclass endclocking endconfig endfunction
    endgenerate endgroup endinterface endmodule endpackage endprimitive endprogram endproperty endsequence endspecify
    endtable endtask entity enum event eventually exit expect export extends extern fairness file final first_match
    for force foreach forever fork forkjoin function generate generic genvar global group guarded highz0 highz1 if iff
    ifnone ignore_bins illegal_bins implements implies import impure in incdir include inertial initial inout input
    inside instance int integer interconnect interface intersect is join join_any join_none label large let liblist
    library linkage literal local localparam logic longint loop macromodule map matches medium mod modport module nand
    negedge nettype new next nexttime nmos nor noshowcancelled not notif0 notif1 null of on open or others out output
    package packed parameter pmos port posedge postponed primitive priority procedure process program property
    protected pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence range rcmos
    real realtime record ref reg register reject reject_on release rem repeat report restrict restrict_guarantee return
    rnmos rol ror rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared select
    sequence severity shared shortint shortreal showcancelled signal signed sla sll small soft solve specify specparam
    sra srl static string strong strong0 strong1 struct subtype super supply0 supply1 sync_accept_on sync_reject_on
    table tagged task then this throughout time timeprecision timeunit to tran tranif0 tranif1 transport tri tri0 tri1
    triand trior trireg type typedef unaffected union unique unique0 units unsigned until until_with untyped use uwire
    var variable vectored virtual vmode void vprop vunit wait wait_order wand weak weak0 weak1 when while wildcard wire
    with within wor xnor xor
"""
"""Reserved words of Verilog, SystemVerilog and VHDL."""


def check_name(name: str) -> str:
    """The name of a module, if Verilog, SystemVerilog and VHDL all take it.

    Raises
    ------
    InputError
        One of them does not.
    """
    if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name) or len(name) > _LENGTH:
        raise InputError(f"module name {name[:_LENGTH + 1]!r}: give up to {_LENGTH} letters, digits and single "
                         "underscores, a letter first, no underscore last; Verilog and VHDL take no other")
    if name.lower() in _RESERVED.split():
        raise InputError(f"module name {name!r} is a reserved word of Verilog or VHDL; choose another, "
                         f"such as {name}_core")
    return name


def comment(text: str) -> str:
    """Text from elsewhere, such as a preset's name in a model file, on one line that no language reads more into."""
    return re.sub(r"[^\w .,:;+-]", "?", text, flags=re.ASCII)
