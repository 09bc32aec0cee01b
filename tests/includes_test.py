"""The arrows between the folders go one way only, and CUDA syntax stays in kernels/cuda; kernels/vendor, and what stands for it
in tests, may use CUDA's headers too.

The simulator of CUDA is a component of its own: its includes are named from its folder, and it knows nothing of the others.

Usage: includes_test.py [ROOT]   checks the tree at ROOT (the repository), after trying the rules on sources that break them.
"""

import pathlib
import re
import sys

MAY_INCLUDE = {
    "kernels": {"kernels"},
    "engine": {"engine", "kernels"},
    "models": {"models", "engine", "kernels"},
    "tools": {"tools", "models", "engine", "kernels"},
    "tests": {"tests", "bench", "tools", "models", "engine", "kernels"},
    "bench": {"tests", "bench", "tools", "models", "engine", "kernels"},
}
SOURCES = {".h", ".cpp", ".cu", ".cuh", ".in"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
CUDA = re.compile(r"<<<|__(?:global|device|shared|constant|launch_bounds)__")
CUDA_HEADER = re.compile(r"<cuda|<cudnn|<cublas|<nccl")
CUDA_HEADERS_ARE_FOR = ("kernels/vendor/", "tests/vendor_")
SIMULATOR = "tools/simulator/"
# How a header of kernels/ says that a function is for hosts and devices: the one definition allowed outside kernels/cuda.
HOST_DEVICE = "#define GANNET_HOST_DEVICE __host__ __device__"
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def violations_in(path, text, exists):
    """path: relative to the root, with forward slashes; exists: whether a path under the root does."""
    folder = path.split("/")[0]
    if path.startswith(SIMULATOR):
        for match in INCLUDE.finditer(text):
            kind, target = match.groups()
            beside = path.rsplit("/", 1)[0] + "/" + target  # its tests' CUDA programs stand alone
            of_tests = path.startswith(SIMULATOR + "tests/") and (exists(beside) or target.startswith("tests/fuzz/"))
            if kind == '"' and not exists(SIMULATOR + target) and not of_tests:
                yield f"{path}:{line_of(text, match.start())}: {target} is not in the simulator"
        return
    for match in INCLUDE.finditer(text):
        kind, target = match.groups()
        where = f"{path}:{line_of(text, match.start())}"
        top = target.split("/")[0]
        if top in MAY_INCLUDE and "/" in target:
            if top not in MAY_INCLUDE[folder]:
                yield f"{where}: {folder}/ must not include {top}/ ({target})"
            elif kind == "<":
                yield f'{where}: write "{target}", not <{target}>'
            elif not exists(target):
                yield f"{where}: there is no {target}"
        elif kind == '"':
            yield f'{where}: name "{target}" from the root of the repository'
    if not path.startswith("kernels/cuda/"):
        if path.endswith((".cu", ".cuh")):
            yield f"{path}: CUDA sources belong in kernels/cuda"
        if folder == "kernels":
            text = text.replace(HOST_DEVICE, "")
        code = COMMENT_OR_TEXT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
        for rule in (CUDA,) if path.startswith(CUDA_HEADERS_ARE_FOR) else (CUDA, CUDA_HEADER):
            for match in rule.finditer(code):
                yield f"{path}:{line_of(code, match.start())}: CUDA outside kernels/cuda ({match.group()})"


def violations(root):
    for folder in MAY_INCLUDE:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in SOURCES and file.is_file():
                path = file.relative_to(root).as_posix()
                yield from violations_in(path, file.read_text(encoding="utf-8"), lambda target: (root / target).exists())


BROKEN = [
    ("kernels/cpu/a.cpp", '#include "engine/graph/graph.h"', "must not include engine/"),
    ("kernels/a.h", '#  include <models/models.h>', "must not include models/"),
    ("engine/graph/a.cpp", '#include "models/models.h"', "must not include models/"),
    ("engine/a.h", '#include "tests/a.h"', "must not include tests/"),
    ("models/a.cpp", '#include "tools/gannet/a.h"', "must not include tools/"),
    ("engine/graph/a.cpp", '#include "graph.h"', "from the root"),
    ("engine/graph/a.cpp", "#include <engine/graph/graph.h>", "write \"engine"),
    ("engine/graph/a.cpp", '#include "engine/gone.h"', "there is no"),
    ("engine/a.cpp", "void f() { kernel<<<1, 2>>>(); }", "CUDA outside"),
    ("kernels/cpu/a.cpp", "__global__ void f();", "CUDA outside"),
    ("engine/a.cpp", "#include <cuda_runtime.h>", "CUDA outside"),
    ("tests/a.cpp", "#include <cudnn.h>", "CUDA outside"),
    ("kernels/vendor/a.cpp", "__global__ void f();", "CUDA outside"),
    ("models/a.cu", "", "belong in kernels/cuda"),
    ("tools/simulator/isa/a.cpp", '#include "kernels/gone.h"', "is not in the simulator"),
]
SOUND = [
    ("kernels/cuda/a.cu", '#include <cuda_runtime.h>\n#include "kernels/tensor.h"\n__global__ void f();'),
    ("kernels/vendor/a.cpp", "#include <cuda_runtime_api.h>"),
    ("engine/a.cpp", '#include <vector>\n#include "kernels/tensor.h"\n// launched as f<<<1, 2>>>\nauto s = "__global__";'),
    ("models/a.cpp", '#include "engine/graph/graph.h"\n#include "kernels/tensor.h"\n#include "models/models.h"'),
    ("kernels/a.h", "#ifdef __CUDACC__\n" + HOST_DEVICE + "\n#endif\nGANNET_HOST_DEVICE void f();"),
    ("tools/simulator/runtime/a.cpp", '#include <cuda_runtime.h>\n#include "isa/decoder.h"'),
    ("tests/a.cpp", '#include "models/models.h"\n#include "tests/a.h"\n#include "bench/a.h"'),
]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    failures = []
    for path, text, expected in BROKEN:
        found = list(violations_in(path, text, lambda target: "gone" not in target))
        if len(found) != 1 or expected not in found[0]:
            failures.append(f"the rules should find one thing ({expected}) in {path} {text!r}, and found {found}")
    for path, text in SOUND:
        found = list(violations_in(path, text, lambda target: True))
        if found:
            failures.append(f"the rules should find nothing in {path} {text!r}, and found {found}")
    failures += violations(root)
    print("\n".join(failures) or f"{len(BROKEN) + len(SOUND)} probes of the rules and the tree: nothing to object to")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
