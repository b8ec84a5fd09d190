"""The register map's SystemRDL, and what follows from it: the table that hardware is built from, headers, pages.

Nothing here is needed to build hardware. Compiling takes the extra ``registers``; the compiled table and the C header
are kept in the tree, and ``python -m lifstream.hdl.rdl`` writes them again after a change of the source.
"""

from __future__ import annotations

import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifstream.golden.contract import registers
from lifstream.golden.contract.errors import InputError
from lifstream.golden.contract.registers import Access, Field, Register
from lifstream.golden.files import write_text

if TYPE_CHECKING:
    from systemrdl.node import RootNode

__all__ = ["SOURCE", "can_export", "compile_rdl", "header", "markdown", "registers_of", "table", "write_html",
           "write_model"]

_CONTRACT = Path(registers.__file__).parent

SOURCE = _CONTRACT / "lifstream_axi.rdl"
"""The SystemRDL."""

_EXPORTERS = ("systemrdl", "peakrdl_cheader", "peakrdl_html", "peakrdl_python")


def can_export() -> bool:
    """Whether the extra ``registers`` is installed."""
    return all(find_spec(package) is not None for package in _EXPORTERS)


def compile_rdl(source: Path = SOURCE) -> RootNode:
    """The elaborated map.

    Raises
    ------
    InputError
        The extra ``registers`` is not installed, or the source is none.
    """
    if not can_export():
        raise InputError("registers: PeakRDL is not installed; install it with: pip install 'lifstream[registers]'")
    from systemrdl.compiler import RDLCompiler
    from systemrdl.messages import RDLCompileError

    compiler = RDLCompiler()
    try:
        compiler.compile_file(str(source))
        return compiler.elaborate(top_def_name="lifstream_axi")
    except RDLCompileError as error:
        raise InputError(f"{source}: {error}") from None


def registers_of(root: RootNode) -> tuple[Register, ...]:
    """The map as a table, in ascending order of addresses.

    Raises
    ------
    InputError
        A field's access is none that the hardware has.
    """
    from systemrdl.node import RegNode
    from systemrdl.rdltypes.builtin_enums import AccessType, OnWriteType

    def access(field: Any) -> Access:
        kinds = {(AccessType.r, None): Access.READ, (AccessType.rw, OnWriteType.woset): Access.SET}
        kind = field.get_property("sw"), field.get_property("onwrite")
        if kind not in kinds or field.get_property("onread") is not None:
            raise InputError(f"{field.get_path()}: the hardware has no fields of this access; its kinds are sw=r, and "
                             "sw=rw with onwrite=woset")
        return kinds[kind]

    def reset(field: Any) -> int | None:
        value: int | None = field.get_property("reset")     # of another field or a signal: none of ours has such
        return value

    top = root.top
    return tuple(
        Register(name=node.get_rel_path(top), address=node.absolute_address, fields=tuple(
            Field(name=field.inst_name, low=field.low, width=field.width, access=access(field),
                  reset=reset(field), constant=field.get_property("hw") is AccessType.na)
            for field in node.fields()))
        for node in top.descendants(unroll=True) if isinstance(node, RegNode))


def table(rows: tuple[Register, ...]) -> str:
    """The table as a Python module."""
    lines = ['"""The registers of a core behind AXI, compiled from lifstream_axi.rdl: change that, and run',
             '``python -m lifstream.hdl.rdl``."""', "", "from __future__ import annotations", "",
             "from lifstream.golden.contract.registers import Access, Field, Register", "",
             '__all__ = ["REGISTERS"]', "", "REGISTERS = ("]
    for row in rows:
        lines.append(f'    Register(name="{row.name}", address=0x{row.address:02X}, fields=(')
        for field in row.fields:
            reset = field.reset if field.reset is None else hex(field.reset)
            lines.append(f'        Field(name="{field.name}", low={field.low}, width={field.width}, '
                         f"access=Access.{field.access.name}, reset={reset}, constant={field.constant}),")
        lines.append("    )),")
    return "\n".join([*lines, ")", '"""In ascending order of addresses."""', ""])


def header(root: RootNode) -> str:
    """The map as a C99 header, ``lifstream_axi.h``: masks and places of fields, and a struct of all registers."""
    from peakrdl_cheader.c_standards import CStandard
    from peakrdl_cheader.exporter import CHeaderExporter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lifstream_axi.h"
        CHeaderExporter().export(root, str(path), std=CStandard.gnu99)
        return path.read_text()


def markdown(root: RootNode) -> str:
    """The map as a table of the documentation."""
    from systemrdl.node import RegNode

    top = root.top
    lines = ["| address | register | bits | field | access | reset | |", "|---|---|---|---|---|---|---|"]
    for row in registers_of(root):
        node = top.find_by_path(row.name)
        assert isinstance(node, RegNode)
        for field in row.fields:
            first = field is row.fields[0]
            told = next(each for each in node.fields() if each.inst_name == field.name).get_property("desc")
            about = node.get_property("desc") if first else None
            text = re.sub(r"\s+", " ", " ".join(filter(None, (about, told))))
            bits = str(field.low) if field.width == 1 else f"{field.low + field.width - 1}:{field.low}"
            cells = (f"{row.address:02X}" if first else "", f"`{row.name}`" if first else "", bits, f"`{field.name}`",
                     field.access, "" if field.reset is None else f"{field.reset:X}", text)
            lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def write_html(root: RootNode, folder: Path) -> Path:
    """Write the map as HTML into ``folder``; returns the page to open."""
    from peakrdl_html import HTMLExporter

    HTMLExporter().export(root, str(folder))
    return folder / "index.html"


def write_model(root: RootNode, folder: Path, *, awaited: bool = True) -> Path:
    """Write the map as a Python package ``lifstream_axi`` into ``folder``; returns the package.

    Its ``reg_model.lifstream_axi`` reads and writes registers by callbacks; ``peakrdl-python`` has to be installed
    where it is used.

    Parameters
    ----------
    root
        The compiled map.
    folder
        Where the package goes.
    awaited
        Whether every access is awaited, as test benches of cocotb need it.
    """
    from peakrdl_python.exporter import PythonExporter

    exporter: Any = PythonExporter  # has no type information
    exporter().export(root.top, str(folder), asyncoutput=awaited, skip_test_case_generation=True,
                            skip_library_copy=True)
    return folder / "lifstream_axi"


def _renew() -> None:
    """Write what is kept in the tree."""
    root = compile_rdl()
    write_text(_CONTRACT / "register_table.py", table(registers_of(root)))
    tree = Path(__file__).resolve().parent.parent
    write_text(tree / "boards" / "c" / "lifstream_axi.h", header(root))
    page = tree / "docs" / "axi.md"
    before, _, rest = page.read_text().partition("<!-- registers -->\n")
    after = rest.partition("<!-- end of registers -->")[2]
    write_text(page, f"{before}<!-- registers -->\n{markdown(root)}<!-- end of registers -->{after}")


if __name__ == "__main__":
    _renew()
