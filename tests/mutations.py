#!/usr/bin/env python3
"""Breaks the code in one place at a time and shows that a test fails each time.

Works on a copy of the tree in a temporary folder. Every mutation names a file, a piece of text that must occur in it exactly
once, what to put there, and the test that has to fail. Refuses to run when a text no longer matches; fails when a mutation
survives.

    tests/mutations.py [--only WORD] [--dependencies FOLDER]
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (what is broken, file, text, replacement, program, its tests)
MUTATIONS = [
    ("tanh: sign of the derivative", "engine/graph/pointwise.cpp",
     "return {multiply(g, affine(square(y, at), -1, 1, at), at)};",
     "return {multiply(g, affine(square(y, at), 1, -1, at), at)};",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("divide: second derivative's factor", "engine/graph/pointwise.cpp",
     "affine(multiply(da, y, at), -1, 0, at)", "affine(multiply(da, y, at), -0.999f, 0, at)",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("sum: scale forgotten in the derivative", "engine/graph/reduction.cpp",
     "scale_ == 1 ? gradients[0]", "scale_ != 0 ? gradients[0]",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("slice: derivative padded on the wrong side", "engine/graph/shape.cpp",
     "ops::pad(gradients[0], start_, after, node.where)", "ops::pad(gradients[0], after, start_, node.where)",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("concatenate: every slice from the start", "engine/graph/shape.cpp",
     "      start += extent;\n", "",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("batch norm: mean of dz forgotten in the composition", "engine/graph/batch_norm.cpp",
     "(dz - ops::mean(dz, over) - hat", "(dz - hat",
     "operators_test", "Operators.FusedEqualTheirCompositions"),
    ("sigmoid BCE: gradient ignores what comes from above", "engine/graph/sigmoid_bce.cpp",
     "return {ops::multiply(node.value(1), gradients[0], node.where)};", "return {node.value(1)};",
     "operators_test", "Operators.DerivativesEqualDifferences"),
    ("planner: a value is taken to be dead a step early", "engine/run/memory.cpp",
     "last[index(plan.root(value))] = i;", "last[index(plan.root(value))] = i - 1;",
     "operators_test", "Operators.*Reference"),
    ("fusion: both operands of a merged instruction are the first", "engine/run/fuse.cpp",
     "instruction.b = operands > 1 ? registers[index(instruction.b)] : 0;",
     "instruction.b = operands > 1 ? registers[index(instruction.a)] : 0;",
     "operators_test", "Operators.*Reference"),
    ("convolution: padding forgotten", "kernels/cpu/convolution.cpp",
     "const memory::dims strides(2, spec_.stride), pad(2, spec_.pad);",
     "const memory::dims strides(2, spec_.stride), pad(2, spec_.pad / 2 * 2);",
     "kernels_test", "Kernels.Convolution"),
    ("wgrad: the last tap dropped (reference)", "kernels/reference/convolution.cpp",
     "for_each_meeting([&](auto x, auto w, auto y) { result[w] += first[x] * second[y]; });",
     "for_each_meeting([&](auto x, auto w, auto y) { if (w + 1 < output.elements()) result[w] += first[x] * second[y]; });",
     "kernels_test", "Adjoints.Reference"),
    ("batch norm: epsilon forgotten", "kernels/cpu/batch_norm.cpp",
     "1 / std::sqrt(variance + static_cast<double>(spec_.epsilon))", "1 / std::sqrt(variance)",
     "kernels_test", "Kernels.BatchNorm"),
    ("Adam: bias correction one step behind", "kernels/cpu/optimizer.cpp",
     "updates = static_cast<double>(step) + 1;", "updates = static_cast<double>(step) + 2;",
     "kernels_test", "Kernels.Optimizer"),
    ("optimizer: a non-finite gradient is not named first", "kernels/cpu/optimizer.cpp",
     "while (piece.tensor < seen &&", "while (piece.tensor != seen &&",
     "kernels_test", "Kernels.Optimizer"),
    ("pointwise: stride of a broadcast axis", "kernels/cpu/chain_plan.cpp",
     "strides[d] = operand[d] == 1 ? 0 : stride;", "strides[d] = stride;",
     "kernels_test", "Kernels.Pointwise"),
    ("reduction: the rest of a row is not summed", "kernels/cpu/simd/reduction.cpp",
     "if (i < sum.rows) lanes = lanes + load_partial", "if (i > sum.rows) lanes = lanes + load_partial",
     "kernels_test", "Kernels.Reduction"),
    ("sigmoid BCE: target's sign in the gradient", "kernels/cpu/simd/sigmoid_bce.cpp",
     "(sigmoid - Float(target)) * Float(scale)", "(sigmoid + Float(target)) * Float(scale)",
     "kernels_test", "Kernels.SigmoidBce"),
    ("Philox: nine rounds", "kernels/philox.h", "round < 10", "round < 9", "reference_test", "Philox.*"),
    ("a precondition is not checked", "kernels/preconditions.cpp",
     'require(all, total == output[spec.axis], "the inputs have {} along axis {}", total, spec.axis);', "(void)total;",
     "reference_test", "Reference.RefusesWhatTheHeadersForbid"),
]


def run(command, folder, environment=None):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def check_patterns(mutations):
    stale = []
    for what, file, text, *_ in mutations:
        count = (ROOT / file).read_text().count(text) if (ROOT / file).exists() else 0
        if count != 1:
            stale.append(f"{what}: the text occurs {count} times in {file}, not once")
    if stale:
        sys.exit("mutations.py is out of date:\n  " + "\n  ".join(stale))


def must(result, what):
    if result.returncode != 0:
        sys.exit(f"{what}:\n{result.stdout[-3000:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutations whose description contains this word")
    parser.add_argument("--dependencies", default=str(ROOT / "build" / "dependencies" / "onednn"), help="where oneDNN lies")
    arguments = parser.parse_args()
    mutations = [m for m in MUTATIONS if arguments.only in m[0]]
    check_patterns(mutations)

    with tempfile.TemporaryDirectory(prefix="gannet-mutations-") as folder:
        tree, build = pathlib.Path(folder) / "tree", pathlib.Path(folder) / "build"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
        must(run(["cmake", "-S", tree, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                  f"-DCMAKE_PREFIX_PATH={arguments.dependencies}"], folder), "cmake failed")
        # Cases of tests stop at the first few failures; idle threads sleep, so that a busy machine does not slow them down.
        environment = dict(os.environ, OMP_WAIT_POLICY="passive")
        environment.pop("GANNET_TEST_CASE", None)

        def judge(program, tests):
            must(run(["cmake", "--build", build, "--target", program], folder), f"building {program} failed")
            result = run([build / "bin" / program, f"--gtest_filter={tests}"], folder, environment)
            if "[==========] Running 0 tests" in result.stdout:
                sys.exit(f"{program} has no tests {tests}")
            return result

        for program, tests in sorted({m[4:] for m in mutations}):
            must(judge(program, tests), f"{program} {tests} fails before anything is broken")
        print(f"{'broken':60} {'seen by':52} result", flush=True)
        survivors = 0
        for what, file, text, replacement, program, tests in mutations:
            path = tree / file
            original = path.read_text()
            path.write_text(original.replace(text, replacement))
            result = judge(program, tests)
            path.write_text(original)
            caught = result.returncode != 0
            survivors += not caught
            print(f"{what:60} {program + ' ' + tests:52} {'fails' if caught else 'PASSES'}", flush=True)
    if survivors:
        sys.exit(f"{survivors} of {len(mutations)} mutations survive")
    print(f"all {len(mutations)} mutations are seen")


if __name__ == "__main__":
    main()
