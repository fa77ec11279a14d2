"""The servers of one state, as people are told of them."""

from msgspec import Struct


class ServerInfo(Struct, frozen=True, kw_only=True):
    """A server. `leads`: it drives all workflows; the others stand by and hand requests on to it.

    `epoch`: of the one that leads, how often the lead has changed hands. `drives`: how many workflows it drives now. `age_s`: for
    how many seconds it was not heard of. `share`: with whom it shares the state: `home`, `anywhere`, or empty for nobody.
    `began_at`: seconds since the epoch, by its own clock.
    """

    url: str
    host: str
    pid: int
    version: str
    leads: bool
    share: str = ""
    epoch: int = 0
    drives: int = 0
    age_s: float = 0.0
    began_at: float = 0.0


class ServerList(Struct, frozen=True, kw_only=True):
    """All servers of a state, in the order in which they have begun."""

    servers: tuple[ServerInfo, ...]
