"""The NATS server's configuration: four accounts and what crosses between them (design, section 7).

SKY holds the services, PEOPLE people and agents, PLANS the environment, which runs code that nobody has checked. A
command crosses from PEOPLE to SKY as a service import with `share: true`: the server itself then says who sent it.
"""

from __future__ import annotations

from pathlib import Path

from skybus.bus.subjects import Subjects
from skybus.stack.credentials import Identity

MAX_PAYLOAD = 4 * 1024 * 1024
"""Bytes. What is larger goes through the object store."""


def server_config(listen: str, store: Path, subjects: Subjects, identities: dict[str, Identity]) -> str:
    """Write the configuration of an embedded server.

    Args:
        listen: `host:port`.
        store: JetStream's folder.
        subjects: those of the instrument.
        identities: who may connect, by name; `Identity.account` says where each lives.
    """
    users = {account: _users(account, identities) for account in ("SYS", "SKY", "PEOPLE", "PLANS")}
    direct = [
        f"$JS.API.DIRECT.GET.{stream}"
        for stream in (
            subjects.console_stream,
            subjects.docs_stream,
            f"KV_{subjects.state_bucket}",
            f"OBJ_{subjects.blob_bucket}",
        )
    ]
    reads = [subject for name in direct for subject in (name, f"{name}.>")]
    return f"""\
server_name: skybus_{subjects.inst}
listen: "{listen}"
max_payload: {MAX_PAYLOAD}
max_pending: 256MB
write_deadline: "10s"
jetstream {{ store_dir: "{store}", sync_interval: "1s" }}
system_account: SYS
accounts {{
  SYS {{ users: [ {users["SYS"]} ] }}
  SKY {{
    jetstream: enabled
    users: [ {users["SKY"]} ]
    exports: [
      {{ service: "sky.*.cmd.*.>", accounts: [PEOPLE] }}
      {_lines(f'{{ service: "{subject}", accounts: [PEOPLE] }}' for subject in reads)}
      {{ stream: "sky.*.evt.>", accounts: [PEOPLE] }}
      {_lines(f'{{ service: "{subject}", accounts: [PLANS] }}' for subject in _FROM_PLANS)}
    ]
    imports: [
      {{ service: {{ account: PLANS, subject: "sky.*.int.environment.>" }} }}
      {{ stream: {{ account: PLANS, subject: "sky.*.int.state" }} }}
    ]
  }}
  PEOPLE {{
    users: [ {users["PEOPLE"]} ]
    imports: [
      {{ service: {{ account: SKY, subject: "sky.*.cmd.*.>" }}, share: true }}
      {_lines(f'{{ service: {{ account: SKY, subject: "{subject}" }} }}' for subject in reads)}
      {{ stream: {{ account: SKY, subject: "sky.*.evt.>" }} }}
      {{ stream: {{ account: PLANS, subject: "sky.*.evt.progress.>" }} }}
    ]
  }}
  PLANS {{
    users: [ {users["PLANS"]} ]
    exports: [
      {{ service: "sky.*.int.environment.>", accounts: [SKY] }}
      {{ stream: "sky.*.int.state", accounts: [SKY] }}
      {{ stream: "sky.*.evt.progress.>", accounts: [PEOPLE] }}
    ]
    imports: [
      {_lines(f'{{ service: {{ account: SKY, subject: "{subject}" }} }}' for subject in _FROM_PLANS)}
    ]
  }}
}}
"""


_FROM_PLANS = ("sky.*.console.worker.>", "sky.*.doc.>", "sky.*.int.life.>", "$KV.*.progress")
"""What the environment may publish into SKY; the answer is JetStream's acknowledgement."""


def permissions(name: str, account: str, token: str) -> str:
    """What a user may publish and receive, in the server's configuration language."""
    if account == "PEOPLE":
        publish = [f"sky.*.cmd.{token}.>", "$JS.API.DIRECT.GET.>"]
        receive = [f"_INBOX.{token}.>", "sky.*.evt.>"]
    elif account == "PLANS":
        publish = [*_FROM_PLANS, "sky.*.int.state", "sky.*.evt.progress.>"]
        receive = [f"_INBOX.{token}.>", "sky.*.int.environment.>", "$SRV.>"]
    else:
        return ""
    allow = ", allow_responses: true" if account == "PLANS" else ""
    return f"permissions: {{ publish: {_list(publish)}, subscribe: {_list(receive)}{allow} }}"


def _users(account: str, identities: dict[str, Identity]) -> str:
    return ", ".join(
        f"{{ {identity.config}, {permissions(name, account, identity.token)} }}"
        for name, identity in identities.items()
        if identity.account == account
    )


def _list(subjects: list[str]) -> str:
    return "[" + ", ".join(f'"{subject}"' for subject in subjects) + "]"


def _lines(entries: object) -> str:
    return "\n      ".join(entries)  # type: ignore[arg-type]
