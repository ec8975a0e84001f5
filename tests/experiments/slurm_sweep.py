#!/usr/bin/env python3
"""Runs a sweep of 200 cells on a real one-node Slurm, breaks the node in the middle, and counts rows.

Usage: slurm_sweep.py QUIRE    Exit codes: 0 ok, 1 not, 77 skipped (with the reason).
The Slurm is this test's own: ports, keys, sockets and state lie in a folder that goes when it ends.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "squeue", "sinfo")
CELLS = 200
PER_TASK = 20
SWEEP = ["--axis", f"seed=[1:{CELLS}]", "--num-prompts", "500", "--request-rate", "4"]


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def rows_of(path):
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    return text[: text.rfind(b"\n") + 1].splitlines()


class Cluster:
    """munged, slurmctld and slurmd as children of this process."""

    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.env = dict(os.environ, SLURM_CONF=str(self.conf))
        self.processes = {}
        host = socket.gethostname().split(".")[0]
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (folder / "ctld").mkdir()
        self.conf.write_text(f"""ClusterName=quire
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
BatchStartTimeout=1
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1,defer_batch
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=500 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")

    def start(self, name, *words):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([shutil.which(name), *words], stdin=subprocess.DEVNULL,
                                                stdout=log, stderr=log, env=self.env)

    def up(self):
        f = self.folder
        self.start("munged", "--foreground", f"--key-file={f}/munge.key", f"--socket={f}/munge.socket",
                   f"--pid-file={f}/munged.pid", f"--log-file={f}/munged.out", f"--seed-file={f}/munged.seed")
        wait_until("munged", (f / "munge.socket").exists, 10)
        self.start("slurmctld", "-D", "-f", str(self.conf))
        self.start("slurmd", "-D", "-f", str(self.conf))
        wait_until("an idle node", self.has_idle_node, 30)

    def has_idle_node(self):
        if self.processes["slurmd"].poll() is not None:  # some containers have no cgroups to give
            for line in (self.folder / "slurmd.log").read_text(errors="replace").splitlines():
                if "cgroup" in line:
                    skip(f"slurmd does not start here: {line}")
        return "idle" in self.say("sinfo", "--noheader", "--format=%T")

    def say(self, *words):
        return subprocess.run(words, env=self.env, capture_output=True, text=True).stdout

    def of_the_node(self):
        """Processes that this Slurm's slurmd has started: they carry the path of its configuration."""
        own = {p.pid for p in self.processes.values()} | {os.getpid()}
        mark = f"SLURM_CONF={self.conf}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in own:
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                # a task's environment; the sweep that watches has no such variable
                if mark in environment and (any(v.startswith(b"SLURM_JOB_ID=") for v in environment)
                                            or b"slurmstepd" in (entry / "cmdline").read_bytes()):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def break_node(self):
        self.processes["slurmd"].kill()
        self.processes["slurmd"].wait()
        killed = 0
        for pid in self.of_the_node():
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        return killed

    def mend_node(self):
        self.start("slurmd", "-D", "-f", str(self.conf))

    def down(self):
        for name in ("slurmd", "slurmctld", "munged"):
            process = self.processes.get(name)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        for pid in self.of_the_node():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def check(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found}, expected {expected}")


def run(quire, cluster, folder):
    cells, rows = folder / "cells.jsonl", folder / "rows.jsonl"
    subprocess.run([quire, "sweep", "plan", *SWEEP, "--out", str(cells), "-q"], check=True)
    planned = [json.loads(line)["cell"] for line in rows_of(cells)]
    check("cells", len(set(planned)), CELLS)
    command = [quire, "sweep", "run", "--cells", str(cells), "--backend", "slurm", "--cells-per-task", str(PER_TASK),
               "--poll", "0.2", "--out", str(rows), "--sbatch=--time=5", "--format", "csv"]
    with open(folder / "sweep.txt", "wb") as said:
        watcher = subprocess.Popen(command, env=cluster.env, stdout=said, stderr=said)

        # The watcher is told to stop and takes the same job up again.
        begun = time.monotonic()
        wait_until("the first rows", lambda: len(rows_of(rows)) >= 20)
        watcher.send_signal(signal.SIGINT)
        check("an interrupted watcher's exit code", watcher.wait(30), 130)
        watcher = subprocess.Popen([*command, "--resume"], env=cluster.env, stdout=said, stderr=said)

        # The node breaks when a task has some of its rows, and most of them are still to come.
        parts = Path(f"{rows}.slurm")
        wait_until("a quarter of the rows and a task in the middle of its cells",
                   lambda: len(rows_of(rows)) >= CELLS // 4
                   and any(0 < len(rows_of(part)) < PER_TASK // 2 for part in parts.glob("part_*.jsonl")))
        killed = cluster.break_node()
        at_break, broken = len(rows_of(rows)), time.monotonic()
        time.sleep(0.5)
        cluster.mend_node()
        check("exit code", watcher.wait(120), 0)
    told = (folder / "sweep.txt").read_text()
    print(told.strip())
    print(f"killed slurmd and {killed} processes of its tasks after {broken - begun:.0f} s, when {at_break} of "
          f"{CELLS} rows were there; all were there {time.monotonic() - broken:.0f} s later")
    if not (killed > 0 and at_break < CELLS):
        raise AssertionError("the node was not broken in the middle")
    ids = [json.loads(line)["run_id"] for line in rows_of(rows)]
    check("rows", len(ids), CELLS)
    check("every row exactly once", sorted(ids), sorted(planned))
    if len(re.findall(r"job \d+: ", told)) < 2:
        raise AssertionError("no second job ran what the first one lost")
    if "watching job" not in told:
        raise AssertionError("the sweep that was resumed did not take its job up again")

    # The same rows, byte for byte, without Slurm: here a tenth of them.
    local = folder / "local.jsonl"
    subprocess.run([quire, "sweep", "run", "--cells", str(cells), "--index", "3", "--count", "10",
                    "--out", str(local), "-q"], check=True)
    check("local rows that Slurm's rows lack", sorted(set(rows_of(local)) - set(rows_of(rows))), [])


def main():
    quire = sys.argv[1]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in NEEDED if name != "slurmstepd" and shutil.which(name) is None]
    if missing:
        skip(f"no {', '.join(missing)} here; cmake/bootstrap.sh test installs Slurm")
    if os.geteuid() != 0:
        skip("a Slurm of one's own starts as root")
    folder = Path(tempfile.mkdtemp(prefix="quire_slurm_"))
    folder.chmod(0o755)
    cluster = Cluster(folder)
    begun = time.monotonic()
    good = False
    try:
        cluster.up()
        run(quire, cluster, folder)
        good = True
    except AssertionError as error:
        print(f"failed: {error}")
        for name in ("sweep.txt", "munged.log", "slurmctld.log", "slurmd.log"):
            path = folder / name
            if path.exists():
                print(f"--- {name}\n{path.read_text(errors='replace')[-3000:]}")
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{time.monotonic() - begun:.0f} s")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
