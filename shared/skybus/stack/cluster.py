"""The files of an instrument whose servers stand on several machines: a folder for each, with all that it needs.

Three NATS servers that share the streams, three Valkeys of which one is the primary, and three Sentinels that choose
another one. `deploy/README.md` says how it is put to work, docs/decisions/0012 why it is as it is.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skybus.bus import room
from skybus.bus.errors import ConflictError, InvalidError
from skybus.bus.settings import CREDENTIALS_DIR
from skybus.bus.subjects import Subjects
from skybus.stack.accounts import server_config
from skybus.stack.credentials import Identity, ensure_credentials
from skybus.stack.private_file import write_private

HOME = Path("/var/lib/skybus")
"""The data directory on each machine, as the units of `deploy/systemd` have it."""
PRIMARY = "skybus"
"""What the Sentinels call the Valkey that takes changes."""
FOLDER_MODE = 0o700
_FEWEST, _MOST = 3, 5


@dataclass(frozen=True)
class Machine:
    """Where the servers of one machine listen."""

    host: str
    """Its name or address, as the other machines and the clients know it."""
    nats: int = 4222
    routes: int = 6222
    valkey: int = 6379
    sentinel: int = 26379
    home: Path = HOME


@dataclass(frozen=True)
class _Cluster:
    """What all machines share."""

    machines: Sequence[Machine]
    subjects: Subjects
    identities: dict[str, Identity]
    password: str
    """Of routes, Valkeys and Sentinels."""

    @property
    def majority(self) -> int:
        return len(self.machines) // 2 + 1

    def nats(self, machine: Machine) -> str:
        """One server of the cluster: `always` forces to the disk what it acknowledges."""
        login = {"user": "route", "password": self.password}
        routes = [f"nats-route://route:{self.password}@{other.host}:{other.routes}" for other in self.machines]
        store = machine.home / "nats" / "jetstream"
        other = {
            "server_name": _label(machine),
            "jetstream": {"store_dir": str(store), "sync_interval": "always", "max_file_store": room.JETSTREAM},
            "cluster": {
                "name": f"skybus_{self.subjects.inst}",
                "listen": f"0.0.0.0:{machine.routes}",
                "authorization": {**login, "timeout": 2},
                "routes": routes,
                "ping_interval": "2s",
                "ping_max": 2,
            },
        }
        return server_config(f"0.0.0.0:{machine.nats}", store, self.subjects, self.identities, other)

    def valkey(self, machine: Machine) -> str:
        """A Valkey that takes a change only while another one has the changes too, and has it on its own disk.

        A primary that dies and is back before the Sentinels have noticed is the primary still, and the others follow
        it: what it held back (`everysec`) is lost to all of them.
        """
        folder = machine.home / "valkey"
        first = self.machines[0]
        follows = "" if machine is first else f"replicaof {first.host} {first.valkey}\n"
        return f"""\
port {machine.valkey}
dir "{folder}"
{follows}replica-announce-ip {machine.host}
replica-announce-port {machine.valkey}
requirepass {self.password}
masterauth {self.password}
appendonly yes
appendfsync always
save ""
maxmemory {room.VALKEY}
maxmemory-policy noeviction
min-replicas-to-write 1
min-replicas-max-lag 2
repl-ping-replica-period 1
repl-timeout 5
repl-diskless-sync-delay 0
"""

    def sentinel(self, machine: Machine) -> str:
        """A Sentinel that holds a Valkey for dead after a second without an answer."""
        first = self.machines[0]
        return f"""\
port {machine.sentinel}
dir "{machine.home / "sentinel"}"
requirepass {self.password}
sentinel sentinel-pass {self.password}
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip {machine.host}
sentinel announce-port {machine.sentinel}
sentinel monitor {PRIMARY} {first.host} {first.valkey} {self.majority}
sentinel auth-pass {PRIMARY} {self.password}
sentinel down-after-milliseconds {PRIMARY} 1000
sentinel failover-timeout {PRIMARY} 5000
sentinel parallel-syncs {PRIMARY} {len(self.machines)}
"""

    def settings(self, machine: Machine) -> str:
        """The environment of all services on a machine."""
        return f"""\
SKYBUS_DATA_DIR={machine.home}
SKYBUS_INSTRUMENT={self.subjects.inst}
SKYBUS_NATS_URL={",".join(f"nats://{other.host}:{other.nats}" for other in self.machines)}
SKYBUS_REPLICAS={len(self.machines)}
SKYBUS_LOG_LEVEL=info
# The startup code; without it a simulated beamline:
#SKYBUS_STARTUP_DIR=/opt/beamline/startup
# Who may do what:
#SKYBUS_USER_GROUP_PERMISSIONS=/opt/beamline/startup/user_group_permissions.yaml
# Where 0MQ clients connect:
#SKYBUS_ZMQ_CONTROL_ADDR=tcp://*:60615
#SKYBUS_ZMQ_INFO_ADDR=tcp://*:60625
"""

    def queue_settings(self) -> str:
        """What only the queue service is told."""
        sentinels = ",".join(f"{other.host}:{other.sentinel}" for other in self.machines)
        return f"""\
SKYBUS_REDIS_URL=redis+sentinel://:{self.password}@{sentinels}/{PRIMARY}/0
# Two queue services run, on two machines; the one that waits is missed when it does not:
SKYBUS_STANDBY=true
"""


def write_cluster(folder: Path, instrument: str, machines: Sequence[Machine]) -> list[Path]:
    """Write a folder for each machine; returns them.

    Raises:
        InvalidError: so many machines are no cluster, or two have one name.
        ConflictError: the folder holds something.
    """
    if not _FEWEST <= len(machines) <= _MOST or len(machines) % 2 == 0:
        raise InvalidError(f"a cluster has {_FEWEST} or {_MOST} machines, not {len(machines)}: most must always agree")
    names = [_label(machine) for machine in machines]
    if len(set(names)) < len(names):
        raise InvalidError(f"two machines have one name: {', '.join(names)}")
    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(f"{folder} is not empty: what lies there may be in use")
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    cluster = _Cluster(machines, Subjects(instrument), ensure_credentials(folder), secrets.token_urlsafe(24))
    made = [_write_machine(folder, cluster, machine) for machine in machines]
    shutil.rmtree(folder / CREDENTIALS_DIR)
    return made


def _write_machine(folder: Path, cluster: _Cluster, machine: Machine) -> Path:
    place = folder / _label(machine)
    for name in ("nats", "valkey", "sentinel"):
        (place / name).mkdir(mode=FOLDER_MODE, parents=True)
    shutil.copytree(folder / CREDENTIALS_DIR, place / CREDENTIALS_DIR)
    texts = {
        "nats/nats.conf": cluster.nats(machine),
        "valkey/valkey.conf": cluster.valkey(machine),
        "sentinel/sentinel.conf": cluster.sentinel(machine),
        "skybus.env": cluster.settings(machine),
        "queue.env": cluster.queue_settings(),
    }
    for name, text in texts.items():
        write_private(place / name, text)
    return place


def _label(machine: Machine) -> str:
    """The name of a machine's folder, and of its NATS server."""
    is_usual = machine.nats == Machine.nats
    return machine.host if is_usual else f"{machine.host}_{machine.nats}"
