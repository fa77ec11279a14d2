"""Who may do what: roles, permissions, and who somebody is. Pure values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from jitflow.model.access import Limits, Role

ALL: Final = "*"
"""Stands for all namespaces in a grant."""


_RANK: Final = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


class Permission(StrEnum):
    """One thing that a route lets somebody do. The part before the dot is its scope."""

    ABOUT_READ = "about.read"
    WORKFLOWS_READ = "workflows.read"
    WORKFLOWS_CREATE = "workflows.create"
    WORKFLOWS_CONTROL = "workflows.control"
    WORKFLOWS_DELETE = "workflows.delete"
    WORKFLOWS_LOGS = "workflows.logs"
    ARTIFACTS_READ = "artifacts.read"
    EVENTS_SEND = "events.send"
    OBJECTS_READ = "objects.read"
    OBJECTS_WRITE = "objects.write"
    SECRETS_READ = "secrets.read"
    SECRETS_WRITE = "secrets.write"
    SECRETS_ROTATE = "secrets.rotate"
    SYNC_READ = "sync.read"
    SYNC_WRITE = "sync.write"
    DATA_READ = "data.read"
    DATA_WRITE = "data.write"
    REMOTES_WRITE = "remotes.write"
    METRICS_READ = "metrics.read"
    TOKENS_MANAGE = "tokens.manage"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"
    AUDIT_READ = "audit.read"
    LINK_USE = "link.use"


LOWEST: Final[Mapping[Permission, Role]] = {
    Permission.ABOUT_READ: Role.VIEWER,
    Permission.WORKFLOWS_READ: Role.VIEWER,
    Permission.WORKFLOWS_CREATE: Role.OPERATOR,
    Permission.WORKFLOWS_CONTROL: Role.OPERATOR,
    Permission.WORKFLOWS_DELETE: Role.OPERATOR,
    Permission.WORKFLOWS_LOGS: Role.VIEWER,
    Permission.ARTIFACTS_READ: Role.VIEWER,
    Permission.EVENTS_SEND: Role.OPERATOR,
    Permission.OBJECTS_READ: Role.VIEWER,
    Permission.OBJECTS_WRITE: Role.OPERATOR,
    Permission.SECRETS_READ: Role.OPERATOR,
    Permission.SECRETS_WRITE: Role.OPERATOR,
    Permission.SECRETS_ROTATE: Role.ADMIN,
    Permission.SYNC_READ: Role.VIEWER,
    Permission.SYNC_WRITE: Role.OPERATOR,
    Permission.DATA_READ: Role.VIEWER,
    Permission.DATA_WRITE: Role.OPERATOR,
    Permission.REMOTES_WRITE: Role.ADMIN,
    Permission.METRICS_READ: Role.VIEWER,
    Permission.TOKENS_MANAGE: Role.ADMIN,
    Permission.WEBHOOKS_READ: Role.ADMIN,
    Permission.WEBHOOKS_WRITE: Role.ADMIN,
    Permission.AUDIT_READ: Role.ADMIN,
    Permission.LINK_USE: Role.ADMIN,
}
"""The lowest role that has a permission."""

SCOPES: Final = frozenset({*Permission, *(permission.partition(".")[0] for permission in Permission)})
"""What a token may be narrowed to: permissions, or all with one first part, as `workflows`."""


IDENTITY = "jitflow.identity"
"""Where a request's scope says who sends it."""


class Identity(Struct, frozen=True, kw_only=True):
    """Somebody who was recognised. `grants`: namespace, or `*`, -> role. `scopes`: narrows that; empty: everything."""

    subject: str
    issuer: str = "jitflow"
    grants: Mapping[str, Role] = {}
    scopes: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    token: str = ""
    """The id of the token that was shown; empty for the server's own."""
    email: str = ""
    expires_at: float | None = None
    limits: Limits = Limits()

    def may(self, permission: Permission, namespace: str) -> bool:
        """Return whether a permission is held in a namespace; `*`: in all."""
        if not self.scopes and self.grants.get(ALL) is Role.ADMIN:
            return True
        return self._in_scope(permission) and self._rank(namespace) >= _RANK[LOWEST[permission]]

    def may_somewhere(self, permission: Permission) -> bool:
        """Return whether a permission is held in any namespace."""
        needed = _RANK[LOWEST[permission]]
        return self._in_scope(permission) and any(_RANK[role] >= needed for role in self.grants.values())

    def where(self, permission: Permission) -> frozenset[str] | None:
        """Return the namespaces in which a permission is held, None for all."""
        if self.may(permission, ALL):
            return None
        return frozenset(namespace for namespace in self.grants if self.may(permission, namespace))

    def covers(self, grants: Mapping[str, Role], permission: Permission) -> bool:
        """Return whether a permission is held wherever `grants` give something."""
        return all(self.may(permission, namespace) for namespace in grants)

    def _in_scope(self, permission: Permission) -> bool:
        if not self.scopes or permission is Permission.ABOUT_READ:
            return True
        return permission in self.scopes or permission.partition(".")[0] in self.scopes

    def _rank(self, namespace: str) -> int:
        ranks = [_RANK[self.grants[place]] for place in (ALL, namespace) if place in self.grants]
        return max(ranks, default=0)


def described(grants: Mapping[str, Role]) -> list[str]:
    """Return grants as people write them: `operator@team-a`, `viewer@*`."""
    return [f"{role}@{namespace}" for namespace, role in sorted(grants.items())]


def control_service() -> Identity:
    """Return who holds a data service's token of the link: it may use the link and nothing else in its own name."""
    return Identity(subject="control service", grants={ALL: Role.ADMIN}, scopes=frozenset({"link"}))


def owner() -> Identity:
    """Return who holds the server's own token: an administrator of everything."""
    return Identity(subject="local", grants={ALL: Role.ADMIN})
