"""The SIMD sources, compiled without optimization, where nothing is inlined away: whatever they define for the linker lies in the
namespace of their vector set. Else it could take AVX-512 code for a function that runs everywhere.

Usage: vector_sets_test.py BUILD_FOLDER
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

LOCAL = "tbdrn"  # as nm calls what the linker does not see


def defined(entry, object_file):
    """Compiles as the build does, but without optimization and sanitizers. Returns the vector set and its linkable symbols."""
    words = [word for word in shlex.split(entry["command"]) if not re.match(r"-O|-DNDEBUG|-fsanitize|-g", word)]
    words[words.index("-o") + 1] = object_file
    subprocess.run([*words, "-O0", "-w"], cwd=entry["directory"], check=True)
    lines = subprocess.run(["nm", "-C", "--defined-only", object_file], check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = [line.split(" ", 2)[1:] for line in lines if line]
    vector_set = re.search(r"-DGANNET_VECTOR_SET=(\w+)", entry["command"]).group(1)
    return vector_set, [name for kind, name in symbols if kind not in LOCAL]


def main():
    build = pathlib.Path(sys.argv[1])
    entries = [e for e in json.loads((build / "compile_commands.json").read_text()) if "-DGANNET_VECTOR_SET=" in e["command"]]
    faults, counts = [], {}
    with tempfile.TemporaryDirectory(prefix="gannet-vector-sets-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [os.path.join(folder, f"{i}.o") for i in range(len(entries))]
        for entry, (vector_set, names) in zip(entries, pool.map(defined, entries, objects)):
            counts[vector_set] = counts.get(vector_set, 0) + len(names)
            faults += [f"{pathlib.Path(entry['file']).name}, {vector_set}: {name}" for name in names if f"::{vector_set}::" not in name]
    print("\n".join(faults))
    print(f"symbols for the linker: {counts}; {len(faults)} outside of their vector set")
    return bool(faults) or not counts


if __name__ == "__main__":
    sys.exit(main())
