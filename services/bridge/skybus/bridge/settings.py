"""The settings of the bridge; each stands for one of the reference's `start-re-manager`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from skybus.bridge.limits import Limits, Network, group_names, method_names, networks
from skybus.bus.settings import BusSettings


def _octal(value: Any) -> Any:
    return int(value, 8) if isinstance(value, str) else value


class BridgeSettings(BusSettings):
    """Where the bridge listens, and how it writes."""

    zmq_control_addr: str = "tcp://*:60615"
    """Where requests arrive."""
    zmq_info_addr: str = "tcp://*:60625"
    """Where console output and status are published."""
    zmq_socket_mode: Annotated[Annotated[int, Field(ge=0, le=0o777)] | None, BeforeValidator(_octal)] = None
    """The mode of the files of `ipc://` sockets, in octal digits; by default what the umask leaves."""
    zmq_methods: Annotated[frozenset[str], NoDecode, BeforeValidator(method_names)] = method_names("all")
    """What clients may send: `all`, `queue` (`read`, the queue, and pausing, resuming and ending its plans), `read`,
    names of methods, or several of these with commas between."""
    zmq_user_groups: Annotated[frozenset[str] | None, NoDecode, BeforeValidator(group_names)] = None
    """The user groups that clients may name, with commas between; by default `*`, every group. The methods that change
    permissions need `root` among them."""
    zmq_peers: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(networks)] = ()
    """Addresses of hosts, or of networks such as 10.1.2.0/24, from which clients may come over TCP, with commas
    between; by default from everywhere."""
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
    def limits(self) -> Limits:
        """What clients may do."""
        return Limits(self.zmq_methods, self.zmq_user_groups, self.zmq_peers)

    @property
    def curve_key(self) -> str | None:
        """The private key, if requests are encrypted."""
        return self.zmq_private_key.get_secret_value() if self.zmq_private_key else None
