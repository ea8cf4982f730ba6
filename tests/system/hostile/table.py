"""All attacks, by name."""

from __future__ import annotations

from tests.system.hostile.attack import Attack
from tests.system.hostile.person_attacks import PERSON_ATTACKS
from tests.system.hostile.plan_attacks import PLAN_ATTACKS
from tests.system.hostile.zmq_attacks import ZMQ_ATTACKS

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (make() for make in (*PERSON_ATTACKS, *PLAN_ATTACKS, *ZMQ_ATTACKS))
}
