#!/usr/bin/env python3
"""tools/profile: what it has the profilers run, and what it says where something is missing.

Usage: profile_test.py TOOLS_PROFILE
"""

import os
import pathlib
import subprocess
import sys
import tempfile

NO_GPU = "GPU           none: no CUDA driver is installed"
A_GPU = "GPU 0         NVIDIA A100-SXM4-40GB, compute capability 8.0, 108 multiprocessors, 39.4 GiB"


def program(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tool = folder / "tools/profile"  # so that reports go below the temporary folder
        tool.parent.mkdir()
        tool.write_text(pathlib.Path(sys.argv[1]).read_text())
        tool.chmod(0o755)
        (folder / "bin").mkdir()
        (folder / "profilers").mkdir()

        def run(*arguments, device=A_GPU):
            program(folder / "bin/gannet", f"echo '{device}'\n")
            (folder / "calls").unlink(missing_ok=True)
            environment = {**os.environ, "GANNET_BIN": str(folder / "bin"), "PATH": f"{folder}/profilers:/usr/bin:/bin"}
            done = subprocess.run([tool, *arguments], env=environment, capture_output=True, text=True)
            calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
            return done.returncode, done.stderr, calls

        code, errors, _ = run("step", device=NO_GPU)
        assert code == 1 and "there is no GPU to profile: no CUDA driver is installed" in errors, errors
        assert f"gannet-sim --profile - {folder}/bin/gannet bench step dcgan --device cuda" in errors, errors
        missing = (("operators", "nsys", "nsight-systems-cli"), ("kernels", "ncu", "cuda-nsight-compute-13-0"))
        for preset, command, package in missing:
            code, errors, _ = run(preset)
            assert code == 1 and f"no {command} in PATH" in errors and package in errors, errors
        for arguments, expected in ((["steps"], 2), ([], 2), (["step", "--kernel", "x"], 1)):
            assert run(*arguments)[0] == expected, arguments

        for command in ("nsys", "ncu"):
            program(folder / "profilers" / command, f'echo {command} $NSYS_NVTX_PROFILER_REGISTER_ONLY "$@" >>{folder}/calls\n')
        step = f"{folder}/bin/gannet bench step wgan_gp --device cuda --warmup 2 --steps 1 --set train.batch=8"
        code, errors, calls = run("step", "wgan_gp", "--set", "train.batch=8")
        assert code == 0 and len(calls) == 2, (errors, calls)
        assert calls[0].startswith("nsys 0 profile ") and calls[0].endswith(f"/step-wgan_gp {step}"), calls
        assert "--cuda-graph-trace=node" in calls[0] and "--nvtx-capture=timed@gannet" in calls[0], calls
        assert calls[1].startswith("nsys stats ") and calls[1].endswith("/build/profile/step-wgan_gp.nsys-rep"), calls
        code, errors, calls = run("operators", "wgan_gp", "--set", "train.batch=8")
        assert code == 0 and calls[0].endswith(f"{step} --kernel-by-kernel"), (errors, calls)
        assert "nvtx_gpu_proj_sum" in calls[1], calls
        code, errors, calls = run("kernels", "--kernel", "implicit_gemm", "wgan_gp", "--set", "train.batch=8")
        assert code == 0 and calls[0].startswith("ncu --nvtx --nvtx-include gannet@timed/ "), (errors, calls)
        assert calls[0].endswith(f"--kernel-name regex:implicit_gemm {step} --kernel-by-kernel"), calls


if __name__ == "__main__":
    main()
