"""The settings of the bridge; each stands for one of the reference's `start-re-manager`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from skybus.bus.settings import BusSettings


class BridgeSettings(BusSettings):
    """Where the bridge listens, and how it writes."""

    zmq_control_addr: str = "tcp://*:60615"
    """Where requests arrive; `tcp://HOST:FIRST-LAST` is the first free one of these ports."""
    zmq_info_addr: str = "tcp://*:60625"
    """Where console output and status are published; written alike."""
    zmq_encoding: Literal["json", "msgpack"] = "json"
    zmq_private_key: SecretStr | None = None
    """Encrypt the control socket (CURVE); 40 characters in Z85."""
    zmq_publish: bool = True
    """Whether anything is published."""
    zmq_request_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a service has for a request."""
    zmq_status_period: float = Field(default=1.0, gt=0)
    """Seconds after which the status is published again when it has not changed."""

    zmq_memory: int = Field(default=1 << 30, ge=256 << 20)
    """Bytes of memory that the bridge may take; 0MQ ends connections whose messages find none."""

    @property
    def curve_key(self) -> str | None:
        """The private key, if requests are encrypted."""
        return self.zmq_private_key.get_secret_value() if self.zmq_private_key else None
