"""What becomes of `gannet train` when the terminal or the reader of its output goes away, and what a narrow terminal shows.

Usage: terminal_test.py GANNET
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios

CONFIGURATION = {"model": {"family": "vanilla", "image_size": 8, "channels": 1, "generator_features": 16, "discriminator_features": 16},
                 "train": {"batch": 4, "steps": 100000000, "sample_count": 4, "sample_every": 0, "checkpoint_every": 0, "threads": 1}}


def dataset(count=16, side=8):
    images = bytes(n * x % 256 for n in range(count) for x in range(side * side))
    header = json.dumps({"images": {"dtype": "U8", "shape": [count, side, side, 1], "data_offsets": [0, len(images)]}}).encode()
    return struct.pack("<Q", len(header)) + header + images


def steps_saved(run):
    return max(int(file.stem.removeprefix("step_")) for file in run.glob("checkpoints/step_*.safetensors"))


def code_of(process):
    """As a shell says it."""
    code = process.wait(timeout=60)
    return 128 - code if code < 0 else code


def start_on_terminal(command, folder, columns):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def become_its_owner():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(command, cwd=folder, stdin=slave, stdout=slave, stderr=slave, preexec_fn=become_its_owner)
    os.close(slave)
    return process, master


def read_until(master, pattern):
    text = b""
    while not re.search(pattern, text):
        text += os.read(master, 4096)
    return text.decode()


def closed_pipe(command, folder):
    """gannet train | head -1"""
    with subprocess.Popen([*command, "pipe"], cwd=folder, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        code = code_of(process)
    return {"exit code": code == 128 + signal.SIGPIPE, "saved": steps_saved(folder / "pipe") > 0,
            "said so": "stopped by SIGPIPE" in (folder / "pipe/log.txt").read_text()}


def closed_terminal(command, folder):
    process, master = start_on_terminal([*command, "hangup"], folder, 80)
    read_until(master, rb"\rstep [0-9]+/")
    os.close(master)
    code = code_of(process)
    return {"exit code": code == 128 + signal.SIGHUP, "saved": steps_saved(folder / "hangup") > 0}


def narrow_terminal(command, folder):
    columns = 40
    process, master = start_on_terminal([*command, "narrow"], folder, columns)
    text = read_until(master, rb"(\rstep [^\r]*){3}\r")
    os.write(master, b"\x03")
    text += read_until(master, rb"--resume goes on")
    code = code_of(process)
    os.close(master)
    shown = [line.partition("\x1b")[0] for line in text.split("\r") if line.startswith("step ")]
    whole = re.compile(r"step \d+/100000000(  [0-9.]+ images/s(  left \d+:\d\d:\d\d)?)?")
    return {"exit code": code == 128 + signal.SIGINT, "lines that fit": all(len(line) < columns for line in shown),
            "whole figures": bool(shown) and all(whole.fullmatch(line) for line in shown)}


def full_output(gannet, folder):
    """A command whose output cannot be written has failed."""
    with open("/dev/full", "w", encoding="ascii") as full:
        run = [subprocess.run([gannet, *words], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
               for words in (["--help"], ["train", "--help"], ["--version"], ["info", "data"])]
    return {"exit code": all(done.returncode == 1 for done in run),
            "message": all("cannot write to the standard output" in done.stderr for done in run)}


def main():
    gannet = pathlib.Path(sys.argv[1]).resolve()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="gannet-terminal-") as name:
        folder = pathlib.Path(name)
        (folder / "data").write_bytes(dataset())
        (folder / "tiny.json").write_text(json.dumps(CONFIGURATION))
        command = [gannet, "train", "tiny.json", "--data", "data", "--out"]
        for test, results in (("closed pipe", closed_pipe(command, folder)), ("closed terminal", closed_terminal(command, folder)),
                              ("narrow terminal", narrow_terminal(command, folder)), ("full output", full_output(gannet, folder))):
            wrong = [what for what, right in results.items() if not right]
            failures += bool(wrong)
            print(f"{test}: {'FAILED: ' + ', '.join(wrong) if wrong else 'as it should be'}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
