"""The errors of the ports. A class answers: what should the caller do?

PortError
├── Retryable         try again later, nothing is wrong with the request
│   ├── Unreachable       the other side does not answer, or cut the connection
│   ├── Stalled           no progress for longer than the limit
│   └── Busy              a limit of the other side
├── FixRequest        the same request will never work
│   ├── ObjectMissing     no such object, bucket or prefix
│   ├── RemoteUnknown     no remote of that name is configured
│   ├── AccessRefused     credentials are wrong or lack a right
│   └── VersionConflict   the run changed meanwhile; load it again
└── GiveUp            needs a person
    ├── SourceChanged     the object changed while it was read
    ├── Corrupt           size or hash differ after a transfer
    ├── DiskFull          no space left on a local disk
    └── Broken            the tool behind the port misbehaves
        ├── StoreFailed       a far store failed in a way that nobody foresaw
        └── InUse             another server has it
"""


class PortError(Exception):
    """Any failure of an adapter; the message names the object or run and never holds a secret."""


class Retryable(PortError):
    """Try again later."""


class Unreachable(Retryable):
    """The other side does not answer, or cut the connection."""


class Stalled(Retryable):
    """No progress for longer than the limit."""


class Busy(Retryable):
    """The other side asks for fewer requests."""


class FixRequest(PortError):
    """The same request will never work."""


class ObjectMissing(FixRequest):
    """No such object, bucket or prefix."""


class RemoteUnknown(FixRequest):
    """No remote of that name is configured."""


class AccessRefused(FixRequest):
    """The credentials are wrong or lack a right."""


class VersionConflict(FixRequest):
    """The run changed meanwhile; load it again."""


class GiveUp(PortError):
    """Needs a person."""


class SourceChanged(GiveUp):
    """The object changed while it was read."""


class Corrupt(GiveUp):
    """Size or hash differ after a transfer."""


class DiskFull(GiveUp):
    """No space left on a local disk."""


class Broken(GiveUp):
    """The tool behind the port misbehaves."""


class StoreFailed(Broken):
    """A far store, or the tool that speaks to it, failed in a way that nobody foresaw."""


class InUse(Broken):
    """Another server has it."""
