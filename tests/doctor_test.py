#!/usr/bin/env python3
"""What `gannet doctor` says of GPUs: here, beside an old driver, and of simulated devices.

Usage: doctor_test.py GANNET [GANNET_SIM OLD_DRIVER.so]   without the latter, of a build without CUDA
"""

import os
import re
import subprocess
import sys

GPU = re.compile(r"^GPU (\d+) +(.+), compute capability (\d+\.\d+), (\d+) multiprocessors, [\d.]+ [KMGT]iB"
                 r"(; can not be used: .*)?$")


def run(*command, **environment):
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def doctor(*command, **environment):
    code, output, errors = run(*command, "doctor", **environment)
    assert code == 0, errors
    lines = [line for line in output.splitlines() if line.startswith(("CUDA", "GPU"))]
    return lines, [GPU.match(line) for line in lines if GPU.match(line)]


def main():
    gannet, *rest = sys.argv[1:]
    lines, devices = doctor(gannet)
    print("\n".join(lines))
    if not rest:
        assert lines == ["GPU           none: this program was built without CUDA"], lines
        return
    simulator, old_driver = rest
    assert re.match(r"^CUDA          runtime 13\.\d, (no driver|driver \d+\.\d+( \([\d.]+\))?)$", lines[0]), lines
    if not devices:  # this machine has none
        assert len(lines) == 2 and re.match(r"^GPU           none: .*(driver|device)", lines[1]), lines
        reason = lines[1].split("none: ")[1]
        code, _, errors = run(gannet, "bench", "step", "gaussian1d", "--device", "cuda")
        assert code == 2 and errors == f"gannet: error: --device cuda: {reason}; --device cpu trains here\n", (code, errors)

    lines, devices = doctor(gannet, LD_PRELOAD=old_driver)
    reason = "the CUDA driver is too old: it is of CUDA 12.4 and this program needs 13.0"
    assert lines[0].startswith("CUDA          runtime 13.0, driver 12.4"), lines
    assert lines[1:] == [f"GPU           none: {reason}"], lines
    code, _, errors = run(gannet, "bench", "step", "gaussian1d", "--device", "cuda", LD_PRELOAD=old_driver)
    assert code == 2 and reason in errors and errors.count("\n") == 1, errors

    lines, devices = doctor(simulator, "--devices", "2", gannet)
    assert len(devices) == 2 and [device[1] for device in devices] == ["0", "1"], lines
    assert all("A100" in device[2] and device[3] == "8.0" and device[4] == "108" for device in devices), lines
    assert all(device[5] is None for device in devices) and not any("none:" in line for line in lines), lines

    lines, devices = doctor(simulator, "--arch", "sm_75", gannet)
    reason = "CUDA device 0 has compute capability 7.5; 8.0 (Ampere) or later is needed"
    assert len(devices) == 1 and devices[0][3] == "7.5" and reason in devices[0][5], lines
    assert lines[-1] == f"GPU           none: {reason}", lines


if __name__ == "__main__":
    main()
