#!/usr/bin/env python3
"""--kernels on the command line: what is refused and how, and a training with the kernels of cuDNN and cuBLASLt (their doubles,
on the simulator) beside one with our own.

Usage: vendor_command_test.py GANNET GANNET_SIM FOLDER_OF_THE_DOUBLES
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile


def run(*command, **environment):
    done = subprocess.run([str(word) for word in command], env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[key] for key in ("loss_d", "loss_g", "d_real", "d_fake")] for line in lines]


def main():
    gannet, simulator, doubles = map(pathlib.Path, sys.argv[1:])
    for command in (["train"], ["sample"], ["eval"], ["bench", "step"], ["bench", "operators"]):
        code, output, _ = run(gannet, *command, "--help")
        assert code == 0 and "--kernels native|vendor|auto [native]" in output, (command, output)

    step = ["bench", "step", "gaussian1d", "--steps", "1", "--json"]
    code, _, errors = run(gannet, *step, "--kernels", "fast")
    assert code == 2 and "must be native or vendor or auto, not 'fast'" in errors, errors
    for kernels in ("vendor", "auto"):
        code, _, errors = run(gannet, *step, "--kernels", kernels)
        assert code == 2 and errors == (f"gannet: error: --kernels {kernels} is for --device cuda: the CPU has its own kernels "
                                        "alone\n"), errors

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        broken = folder / "broken"
        broken.mkdir()
        on_simulator = [simulator, "--check", "none", gannet]
        cuda = ["--device", "cuda", "--kernels"]
        for library in ("libcudnn.so.9", "libcublasLt.so.13"):
            for other in broken.iterdir():
                other.unlink()
            (broken / library).write_text("no library")
            path = f"{broken}:{doubles}"
            code, _, errors = run(*on_simulator, *step, *cuda, "vendor", LD_LIBRARY_PATH=path)
            assert code == 2 and errors.count("\n") == 1, (code, errors)
            assert errors.startswith("gannet: error: --kernels vendor needs cuDNN 9 and cuBLASLt 13: "
                                     f"{library} can not be loaded ("), errors
            # Without the simulator those of a toolkit would be found, beside the CUDA runtime.
            code, output, _ = run(*on_simulator, "doctor", LD_LIBRARY_PATH=path)
            line = next(line for line in output.splitlines() if line.startswith("cuDNN "))
            assert code == 0 and f"{library} can not be loaded (" in line, line

        code, _, errors = run(*on_simulator, *step, *cuda, "auto", LD_LIBRARY_PATH=str(doubles))
        assert code == 2 and "--kernels auto times kernels, and times on Simulated" in errors, errors
        assert errors.count("\n") == 1, errors

        code, output, _ = run(gannet, "doctor", LD_LIBRARY_PATH=str(doubles))
        assert code == 0 and "cuDNN         9.0.0; cuBLASLt 13.0.0\n" in output, output
        code, output, errors = run(*on_simulator, *step, *cuda, "vendor", LD_LIBRARY_PATH=str(doubles))
        assert code == 0, errors
        assert json.loads(output.splitlines()[-1])["backend"].endswith(", sm_80, cuDNN 9.0.0, cuBLASLt 13.0.0)"), output

        found = {}
        for kernels in ("native", "vendor"):
            out = folder / kernels
            code, _, errors = run(*on_simulator, "train", "gaussian1d", *cuda, kernels, "--steps", "3", "--out", out,
                                  LD_LIBRARY_PATH=str(doubles))
            assert code == 0, errors
            found[kernels] = losses(out)
        assert len(found["native"]) == 3, found
        pairs = [pair for steps in zip(*found.values()) for pair in zip(*steps)]
        assert all(abs(one - other) <= 1e-4 * max(1, abs(one)) for one, other in pairs), found
        print(f"{len(pairs)} figures of training by own kernels and by the doubles' agree")


if __name__ == "__main__":
    main()
