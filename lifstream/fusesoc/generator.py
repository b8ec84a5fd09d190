"""FuseSoC's generator ``lifstream``: the Verilog of a network as a core of its own.

FuseSoC calls it with a YAML file in the folder that is to hold the core; ``generator.core`` lists the parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

OPTIONS = ("preset", "model", "layers", "spec", "dataset", "name", "rule", "lanes", "pixels_per_clock", "unroll",
           "neurons_per_unit", "interface", "axi_width")
"""Parameters that are options of ``lifstream verilog``."""
_FILES = ("model", "spec", "dataset")


def wants_bench(asked: dict[str, Any]) -> bool:
    """Whether the bench is to be among the files.

    Raises
    ------
    ValueError
        The parameter is neither true nor false.
    """
    wanted = (asked.get("parameters") or {}).get("bench", False)
    if not isinstance(wanted, bool):
        raise ValueError("parameter bench: give true or false")
    return wanted


def arguments(asked: dict[str, Any]) -> list[str]:
    """What follows ``lifstream`` on the command line, for the content of FuseSoC's file.

    Raises
    ------
    ValueError
        A parameter is unknown, or is no text and no number.
    """
    parameters: dict[str, Any] = {name: value for name, value in (asked.get("parameters") or {}).items()
                                  if name != "bench"}
    if unknown := sorted(set(parameters) - set(OPTIONS)):
        raise ValueError(f"parameter {unknown[0]!r} is unknown, must be one of {', '.join((*OPTIONS, 'bench'))}")
    parameters.setdefault("name", asked["vlnv"].split(":")[2].replace("-", "_"))
    found = ["verilog", "--json", "--out", "."]
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"parameter {name}: {value!r} is no text and no number")
        place = Path(asked["files_root"]) / str(value)
        found += [f"--{name.replace('_', '-')}", str(place) if name in _FILES and place.exists() else str(value)]
    return found


def core_file(asked: dict[str, Any], files: list[str]) -> str:
    """The core of these files, as ``lifstream verilog`` lists them; JSON is YAML too."""
    name = next(Path(file).stem for file in files if file.endswith(".vlt"))
    filesets: dict[str, Any] = {
        "rtl": {"files": [f"{name}.v"], "file_type": "verilogSource-2005"},
        "lint": {"files": [f"{name}.vlt"], "file_type": "vlt"},
    }
    if wants_bench(asked):
        filesets["bench"] = {"files": [f"{name}_tb.v"], "file_type": "verilogSource-2005"}
    return "CAPI=2:\n" + json.dumps({
        "name": asked["vlnv"],
        "filesets": filesets,
        "targets": {"default": {"filesets": list(filesets)}},
    }, indent=2) + "\n"


def main(path: str) -> int:
    """Write the core that the file at ``path`` asks for into the working folder; returns the exit status."""
    import yaml

    asked = yaml.safe_load(Path(path).read_text())
    try:
        bench = wants_bench(asked)
        done = subprocess.run([sys.executable, "-m", "lifstream", *arguments(asked)], stdout=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode:
            return done.returncode
        files = json.loads(done.stdout)["files"]
        if bench and not any(file.endswith("_tb.v") for file in files):
            raise ValueError("parameter bench: so many weights make no bench; leave it out")
    except ValueError as error:
        print(f"lifstream generator: {error}", file=sys.stderr)
        return 2
    Path(f"{asked['vlnv'].split(':')[2]}.core").write_text(core_file(asked, files))
    return 0


if __name__ == "__main__":
    try:
        import yaml  # noqa: F401

        import lifstream  # noqa: F401
    except ImportError as error:
        clone = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "python"
        if clone.exists() and Path(sys.prefix) != clone.parents[1]:
            os.execv(clone, [str(clone), *sys.argv])
        sys.exit(f"lifstream generator: {error.name} is missing in {sys.executable}; put the environment with "
                 "lifstream[fusesoc] first on PATH")
    sys.exit(main(sys.argv[1]))
