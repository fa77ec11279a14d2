"""Who may come in, and what they may do: tokens, roles, and the table of what each route needs."""

from jitflow.access.gate import Denied, Gate, Verifier, on_behalf
from jitflow.access.limits import Buckets
from jitflow.access.roles import ALL, IDENTITY, LOWEST, Identity, Permission, control_service, described, owner
from jitflow.access.table import LINK_NEEDS, NEEDS, OLDER, OPEN, STREAMED, Need, Where, denied, need_of
from jitflow.access.tokens import Tokens
from jitflow.model.access import Limits, Role, TokenInfo, TokenWish

__all__ = [
    "ALL",
    "IDENTITY",
    "LINK_NEEDS",
    "LOWEST",
    "NEEDS",
    "OLDER",
    "OPEN",
    "STREAMED",
    "Buckets",
    "Denied",
    "Gate",
    "Identity",
    "Limits",
    "Need",
    "Permission",
    "Role",
    "TokenInfo",
    "TokenWish",
    "Tokens",
    "Verifier",
    "Where",
    "control_service",
    "denied",
    "described",
    "need_of",
    "on_behalf",
    "owner",
]
