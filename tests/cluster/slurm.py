"""A private Slurm of two nodes on this host, for as long as a test needs it: nothing in /etc, no systemd, no cgroups.

Takes   a folder; slurmctld, slurmd, munged and the client commands (Debian: slurm-wlm, munge).
Leaves  daemons that listen on ports of their own and keep all they write below the folder; `stop` ends exactly those.
Source  several slurmd on one host by NodeHostname and Port; a node may claim more CPUs than the host has
        (config_overrides). Each node has a GPU of type `fake`, which is a device file that exists.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CLIENTS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "sacct")
NODES = ("node1", "node2")
CPUS, MEMORY_MB = 8, 64_000
CLIENT_S = 60
SEARCHED = os.environ["PATH"] + ":/usr/sbin:/sbin"
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
MinJobAge=3600
KillWait=15
SlurmdTimeout=20
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/finished.txt
AccountingStorageType=accounting_storage/none
GresTypes=gpu
{nodes}
PartitionName=all Nodes={all} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no Slurm can be brought up here, or None."""
    absent = [n for n in ("slurmctld", "slurmd", "munged", *CLIENTS) if shutil.which(n, path=SEARCHED) is None]
    return (
        f"Slurm is not installed ({', '.join(absent)} not found): apt-get install slurm-wlm munge" if absent else None
    )


class Slurm:
    """One controller, two nodes. `environment` is what a client of it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._configure()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SNAKEMAKE"))},
            "PATH": f"{folder}/bin:{SEARCHED}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def _configure(self) -> None:
        for name in ("munge", "state", "bin", *(f"spool-{n}" for n in NODES)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o711)
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().split(".")[0]
        ports = free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory={MEMORY_MB} "
            "Gres=gpu:fake:1 State=UNKNOWN"
            for name, port in zip(NODES, ports[1:], strict=True)
        )
        user = pwd.getpwuid(os.getuid()).pw_name
        (self.folder / "slurm.conf").write_text(
            CONF.format(host=host, controller=ports[0], user=user, folder=self.folder, nodes=nodes, all=",".join(NODES))
        )
        (self.folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu Type=fake File=/dev/zero\n")
        # Snakemake's job step drops SLURM_CONF before it calls srun; commands that set it come first on PATH.
        for name in CLIENTS:
            wrapper = self.folder / "bin" / name
            real = shutil.which(name, path=SEARCHED)
            wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n')
            wrapper.chmod(0o755)

    def start(self) -> None:
        """Munge, controller, nodes; returns once both nodes are idle."""
        munge = self.folder / "munge"
        self._start("munged", "munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                    f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")  # fmt: skip
        self._until(lambda: (munge / "socket").exists(), "munge's socket")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self._until(lambda: self.client("sinfo", "-hN", "-o", "%T", check=False).split() == ["idle"] * 2, "nodes")

    def start_controller(self) -> None:
        """The controller; it finds its state again."""
        self._start("slurmctld", "slurmctld", "-D")

    def start_node(self, node: str) -> None:
        """A node's daemon."""
        self._start(node, "slurmd", "-D", "-N", node)

    def kill(self, daemon: str) -> None:
        """SIGKILL to `slurmctld` or to a node's daemon; the jobs of a node go on without it."""
        self._daemons[daemon].kill()
        self._daemons.pop(daemon).wait()

    def stop(self) -> None:
        """Cancels what is left and ends every daemon that was started here."""
        if "slurmctld" in self._daemons:
            self.client("scancel", "--user", pwd.getpwuid(os.getuid()).pw_name, check=False)
            deadline = time.monotonic() + 20
            while self.client("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
                time.sleep(0.3)
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def client(self, *command: str, check: bool = True) -> str:
        """What a client command prints.

        Raises: RuntimeError when it fails and `check` is given.
        """
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=CLIENT_S, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """The jobs of a rule, oldest first, each as {field: value} of `scontrol show job`."""
        said = self.client("scontrol", "-o", "show", "job", check=False).splitlines()
        shown = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in said]
        ours = [job for job in shown if job.get("Comment", "").startswith(f"rule_{rule}_")]
        return sorted(ours, key=lambda job: int(job["JobId"]))

    def running(self, rule: str) -> dict[str, str] | None:
        """A rule's running job, or None."""
        return next((job for job in self.jobs(rule) if job["JobState"] == "RUNNING"), None)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def _until(self, true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            for name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.out').read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Slurm's {what} did not come up within {timeout_s:.0f} s; see {self.folder}")
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
