"""Ranks that other launchers start find each other by what those say in the environment.

Usage: launchers_test.py torchrun|mpirun|srun GROUP_TEST

Skipped (77) where the launcher is not installed. srun gets a Slurm of its own, of this one machine, in a temporary folder: that
takes munged, slurmctld and slurmd, and root.
"""

import contextlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
RANKS = 4
ROOT = pathlib.Path(__file__).resolve().parent.parent
OF_LAUNCHERS = ("OMPI_", "PMIX_", "SLURM_", "TORCHELASTIC_", "GANNET_JOB", "GANNET_PORT", "RANK", "WORLD_SIZE", "LOCAL_",
                "MASTER_")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def find(name, *places):
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, places)]))
    return found or skip(f"there is no {name}")


def environment(**more):
    return {**{name: value for name, value in os.environ.items() if not name.startswith(OF_LAUNCHERS)}, **more}


def run(command, env, expected=0):
    """The output of a job of the launcher that ends as expected."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    output = done.stdout + done.stderr
    if (done.returncode == 0) != (expected == 0):
        sys.exit(f"{command}: exit code {done.returncode}\n{output}")
    return output


def check(command, program, env):
    """Ranks meet and exchange, and end together when one of them fails."""
    output = run([*command, program, "--rank", "meet"], env)
    if output.count("address ") != RANKS * RANKS or "error" in output:
        sys.exit(f"{command}: {RANKS} ranks should name {RANKS} addresses each\n{output}")
    start = time.monotonic()
    output = run([*command, program, "--rank", "failing"], env, expected=1)
    if "the disk is full" not in output:
        sys.exit(f"{command}: should say what rank 1 failed with\n{output}")
    return time.monotonic() - start


def torchrun(program):
    command = find("torchrun", ROOT / "build/dependencies/pytorch/bin")
    several = [command, "--no-python", f"--nproc-per-node={RANKS}"]
    seconds = check([*several, "--standalone"], program, environment())
    port = random.randrange(10000, 20000)
    check([*several, "--master-addr=127.0.0.1", f"--master-port={port}"], program, environment())
    return seconds


def mpirun(program):
    command = find("mpirun")
    several = [command, "--oversubscribe", "-np", str(RANKS)]
    if os.geteuid() == 0:
        several.append("--allow-run-as-root")
    return check(several, program, environment(GANNET_PORT=str(random.randrange(10000, 29000))))


@contextlib.contextmanager
def slurm(folder):
    """A Slurm of this machine; yields the environment that its commands take."""
    if os.geteuid() != 0:
        skip("slurmd takes root")
    munged, slurmctld, slurmd = find("munged"), find("slurmctld"), find("slurmd")
    for name in ("spool", "state"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    folder.chmod(0o755)
    host, port = socket.gethostname().split(".")[0], random.randrange(10000, 29000)
    (folder / "slurm.conf").write_text(f"""
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={port + 1}
MpiDefault=none
ReturnToService=2
NodeName={host} CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
""")
    env = environment(SLURM_CONF=str(folder / "slurm.conf"))
    daemons = []
    try:
        daemons.append(subprocess.Popen(
            [munged, "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/socket",
             f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until((folder / "socket").exists, "munged")
        for daemon in (slurmctld, slurmd):
            daemons.append(subprocess.Popen([daemon, "-D"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        sinfo = find("sinfo")

        def idle():
            return "idle" in subprocess.run([sinfo, "-h"], env=env, capture_output=True, text=True).stdout

        wait_until(idle, "slurmd")
        yield env
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what} does not start")
        time.sleep(0.1)


def srun(program):
    command = find("srun")
    with tempfile.TemporaryDirectory(prefix="gannet-slurm-") as name, slurm(pathlib.Path(name)) as env:
        seconds = check([command, f"-n{RANKS}", "--overcommit"], program, env)
        script = pathlib.Path(name) / "job.sh"
        script.write_text(f"#!/bin/sh\n{program} --rank meet || exit 3\nsrun --overcommit {program} --rank meet\n")
        output = pathlib.Path(name) / "job.out"
        run([find("sbatch"), "--wait", f"-n{RANKS}", "--overcommit", "-o", output, script], env)
        # Alone in the script itself, where Slurm says of four tasks too; four under srun.
        if output.read_text().count("address ") != 1 + RANKS * RANKS:
            sys.exit(f"sbatch: one rank, then {RANKS}, should have met\n{output.read_text()}")
    return seconds


def main():
    name, program = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    seconds = {"torchrun": torchrun, "mpirun": mpirun, "srun": srun}[name](program)
    print(f"{name}: {RANKS} ranks meet; all end {seconds:.1f} s after a start in which one fails")


if __name__ == "__main__":
    main()
