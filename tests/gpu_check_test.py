#!/usr/bin/env python3
"""bench/gpu_check.py where there is no GPU, and the report that it makes of what programs that stand for the real ones measure.

Usage: gpu_check_test.py GPU_CHECK
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

GANNET = """
if [ "$1" = doctor ]; then echo "$DEVICE"; exit; fi
case "$*" in *precision=bf16*) rate=3000;; *precision=tf32*) rate=2000;; *) rate=1000;; esac
echo '{"event": "first step", "seconds": 1}'
echo "{\\"images_per_s\\": [$rate, $rate, 9], \\"step_ms\\": 16, \\"gflop_per_s\\": 5000, \\"first_step_s\\": 1}"
"""
PYTHON = """
if [ "$1" = -c ]; then echo 2.15; exit; fi
case "$*" in *channels-last*freeze*) rate=800;; *) rate=400;; esac
echo "{\\"images_per_s\\": [$rate]}"
"""
OPERATORS = """
case "$*" in *"--kernels vendor"*)
  if [ -n "$NO_VENDOR" ]; then echo "libcudnn.so.9 can not be loaded" >&2; exit 2; fi
  cold=3e-4;; *) cold=2e-4;; esac
echo '{"device": "NVIDIA A100", "simulated": false, "tf32": false, "bytes_per_s": 1e12, "fp32_per_s": 2e13, "tf32_per_s": 1e14,
  "bf16_per_s": 2e14}' | tr -d '\\n'
echo
echo "{\\"name\\": \\"$5\\", \\"operator\\": \\"convolution fprop\\", \\"problem\\": \\"x=f32(1)\\", \\"flops\\": 2e9,
  \\"least_bytes\\": 1e8, \\"cold_s\\": $cold, \\"warm_s\\": 1e-4}" | tr -d '\\n'
"""
A100 = "GPU 0         NVIDIA A100, compute capability 8.0, 108 multiprocessors, 39.4 GiB"


def program(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def main():
    tool = pathlib.Path(sys.argv[1])
    found = subprocess.run([sys.executable, tool, "--find"], capture_output=True, text=True)
    if found.returncode == 0:
        assert found.stdout.strip().replace(";", "").isdigit(), found.stdout
    else:
        assert found.stderr.startswith("gpu-check: there is no GPU here: ") and found.stderr.count("\n") == 1, found.stderr

    with tempfile.TemporaryDirectory() as folder:
        build, out = pathlib.Path(folder) / "build", pathlib.Path(folder) / "out"
        (build / "bin").mkdir(parents=True)
        program(build / "bin/gannet", GANNET)
        program(build / "bin/cuda_operators", OPERATORS)
        program(build / "python", PYTHON)

        def run(device, tests, *options, **environment):
            lines = [f"add_test({name} sh -c \"exit {code}\")\nset_tests_properties({name} PROPERTIES SKIP_RETURN_CODE 77)\n"
                     for name, code in tests.items()]
            (build / "CTestTestfile.cmake").write_text("".join(lines))
            command = [sys.executable, tool, "--build", build, "--out", out, *options]
            return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DEVICE": device, **environment})

        for device, reason in (("GPU           none: the CUDA driver finds no device", "the CUDA driver finds no device"),
                               (A100.replace("NVIDIA", "Simulated"), "simulated")):
            done = run(device, {})
            assert done.returncode == 1 and reason in done.stderr.splitlines()[-1], done.stderr

        # Only the first two are on a device.
        tests = {"cuda.kernels.device": 0, "cuda.vendor.device": 77, "cuda.kernels.fair": 1, "sim.device": 1}
        done = run(A100, tests, "--pytorch", build / "python")
        assert done.returncode == 0, done.stderr
        report = json.loads((out / "report.json").read_text())
        assert [test["name"] for test in report["tests"]] == ["cuda.kernels.device", "cuda.vendor.device"], report["tests"]
        assert len(report["steps"]) == 9 and [row["batch"] for row in report["steps"][:3]] == [16, 64, 128]
        assert report["steps"][0]["pytorch"]["nchw"] == 400, report["steps"][0]
        text = (out / "report.md").read_text()
        assert "- GPU 0 NVIDIA A100, compute capability 8.0" in text, text
        assert "| bf16 | 128 | 3000 | 16.000 | 5.00 | 800 | channels-last, D frozen | 3.75 |" in text, text
        assert "| cuda.kernels.device | passed |" in text, text
        names = [row["name"] for row in report["operators"]["tf32"]]
        assert names and all(name[:5] in ("fprop", "dgrad", "wgrad") and name.endswith(".fp32") for name in names), names
        # 1e8 bytes at 1e12 a second are 100 us at best.
        assert f"| {names[0]} | 200.00 | 100.00 | 500 | 10.00 | 50.0% | 300.00 | 1.50 |" in text, text

        for code, result in ((1, "failed"), (77, "skipped")):
            done = run(A100, {"cuda.kernels.device": code}, NO_VENDOR="1")
            assert done.returncode == 1 and "not passed: cuda.kernels.device" in done.stderr, done.stderr
            text = (out / "report.md").read_text()
            assert f"| cuda.kernels.device | {result} |" in text and "no PyTorch with CUDA" in text, text
            assert "| 50.0% | - | - |" in text and "libcudnn.so.9 can not be loaded" in done.stderr, text


if __name__ == "__main__":
    main()
