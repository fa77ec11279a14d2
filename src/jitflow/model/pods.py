"""A pod: one running unit of an executor. What to run, and how it ended."""

from enum import StrEnum

from msgspec import Struct

PodKey = str
"""Names one attempt for ever: `<workflow uid>.<node id>`. Starting a key twice starts one pod."""


class Delivery(StrEnum):
    """How a file comes to its path in a pod."""

    BIND = "bind"
    """Read-only bind mount of `source` (sandbox); a symbolic link where there are no mounts (process)."""
    COPY = "copy"
    """A private, writable copy (reflink or hard link are no option: the pod may write it)."""
    UNPACK = "unpack"
    """`source` is a tar (gzip or plain) or zip; its single file is unpacked *to* the path, a directory *as* it."""


class PodInput(Struct, frozen=True, kw_only=True):
    """A file or directory of the host, `source`, shown at `path` in the pod; `mode` sets permission bits (needs COPY).

    `recurse`: of all that a directory holds too.
    """

    name: str
    path: str
    source: str
    delivery: Delivery = Delivery.BIND
    mode: int | None = None
    recurse: bool = False


class PodFile(Struct, frozen=True, kw_only=True):
    """A small file made inside the pod: a script's source, a raw artifact."""

    path: str
    content: bytes
    mode: int = 0o644
    secret: bool = False
    """It never touches the disk in a sandbox, and is only read."""


class Archive(StrEnum):
    """How an output artifact is packed, as in Argo's `archive`."""

    TAR = "tar"
    NONE = "none"
    ZIP = "zip"


class PodOutput(Struct, frozen=True, kw_only=True):
    """A file to collect when the pod's main container has ended, whatever its exit code.

    A parameter's file is read as text (at most 1 MiB); an artifact goes to the pod's `outputs/<name>` as one file (packed),
    or as it is (`Archive.NONE`; a directory stays one). A missing file is reported, not an error of the executor. The log of the
    container is taken as it was printed, both streams in one file, even if nothing else could be done.
    """

    name: str
    path: str
    kind: str = "artifact"
    """`artifact`, `parameter`, or `log` (then `path` means nothing)."""
    archive: Archive = Archive.TAR
    compression_level: int = 6


class PodVolume(Struct, frozen=True, kw_only=True):
    """A real mount at `path`: an empty directory of the pod (`source` empty, name says which) or a directory of the host."""

    name: str
    path: str
    source: str = ""
    sub_path: str = ""
    read_only: bool = False
    memory: bool = False
    size_limit_bytes: int | None = None


MESSAGE_PATH = "/dev/termination-log"
"""Where Kubernetes looks for a failed container's message, if it is not told otherwise."""


class PodImage(Struct, frozen=True, kw_only=True):
    """What an image's name means here.

    `root`: `""` for the host's root, else a directory that holds a root file system. `files`: extra read-only files or
    directories, path in the pod -> path on the host. `entrypoint`/`cmd`: what runs when the template names no command/args.
    """

    name: str
    root: str = ""
    files: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: dict[str, str] = {}
    working_dir: str = ""


class PodProbe(Struct, frozen=True, kw_only=True):
    """A command that succeeds when a container is ready. `successes`: how often in a row it must. Times in seconds."""

    command: tuple[str, ...]
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    successes: int = 1


class ContainerRole(StrEnum):
    """What a container is for in a pod of several."""

    INIT = "init"
    """Runs before the others, one after the other; one that fails ends the pod."""
    MAIN = "main"
    """Decides how the pod ends; the pod has ended when all of these have."""
    SIDECAR = "sidecar"
    """Starts with the main containers and is told to end (TERM, grace, KILL) when they have ended."""


class PodContainer(Struct, frozen=True, kw_only=True):
    """A container of a pod of several: a root of its own (of its image), the pod's volumes and network shared.

    `dependencies`: main containers that must have ended with 0 before this one starts; if one did not, this one does not run
    and ends with its exit code. `retries`: how often it is started again after a failure, `retry_delay_s` apart. The fields that
    a `Pod` has too mean the same. A command may be empty only for an init container that just places files.
    """

    name: str
    role: ContainerRole
    image: PodImage
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    files: tuple[PodFile, ...] = ()
    inputs: tuple[PodInput, ...] = ()
    outputs: tuple[PodOutput, ...] = ()
    volumes: tuple[PodVolume, ...] = ()
    capture_result: bool = False
    tty: bool = False
    message_path: str = MESSAGE_PATH
    message_from_log: bool = False
    probe: PodProbe | None = None
    hidden: tuple[str, ...] = ()
    """Values of Secrets that the pod has; they are kept out of its log."""
    dependencies: tuple[str, ...] = ()
    retries: int = 0
    retry_delay_s: float = 0.0


class Pod(Struct, frozen=True, kw_only=True):
    """Everything an executor needs to run one pod. Times in seconds.

    A pod of several containers names all of them in `containers`; of the other fields only the key, the name, the deadline and
    the grace mean something then, and `command` is empty.
    """

    key: PodKey
    name: str
    image: PodImage
    command: tuple[str, ...]
    """The whole argument vector; empty only if there are `containers`."""
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    files: tuple[PodFile, ...] = ()
    inputs: tuple[PodInput, ...] = ()
    outputs: tuple[PodOutput, ...] = ()
    volumes: tuple[PodVolume, ...] = ()
    deadline_s: float | None = None
    """The pod is ended (TERM, grace, KILL) after this time and its end says `timed_out`."""
    grace_s: float = 30.0
    capture_result: bool = False
    """Return the last 256 KiB of standard output in `PodEnd.result`."""
    containers: tuple[PodContainer, ...] = ()
    address: str = ""
    """A loopback address of its own for a pod that serves: there is what its containers listen to, and their localhost."""
    tty: bool = False
    """The command runs at a terminal at which nobody types; what it prints is all its stdout."""
    message_path: str = MESSAGE_PATH
    message_from_log: bool = False
    """Where a command that fails may leave a message; whether the end of its log is one if it leaves none."""
    probe: PodProbe | None = None
    """Tried until it succeeds, which is told as news."""
    hidden: tuple[str, ...] = ()
    """Values of Secrets that the pod has; they are kept out of its log."""


class CollectedArtifact(Struct, frozen=True, kw_only=True):
    """An output artifact on the host, below the pod's directory. `size_bytes`: of the file, or of the tree."""

    name: str
    source: str
    size_bytes: int
    is_directory: bool = False


class ContainerEnd(Struct, frozen=True, kw_only=True):
    """How one container of several ended; `exit_code` None: it never ran, `error` says why, or it was not reached."""

    name: str
    role: ContainerRole
    exit_code: int | None
    started_at: float
    finished_at: float
    error: str = ""
    attempts: int = 1
    message: str = ""


class PodEnd(Struct, frozen=True, kw_only=True):
    """How a pod ended. Recorded atomically by the pod's own parent before anybody hears of it.

    `exit_code`: as Argo's (128 + n for signal n; 64: the command could not be started); None: the pod never ran or its parent
    was killed. Of a pod of several containers: the first code of a main one that is not 0, and `containers` tells of each.
    `error`: what the executor could not do (an input not unpacked, an output not collected), else empty.
    `missing`: outputs whose file was not there. `parameters`: text with one trailing newline removed.
    """

    key: PodKey
    exit_code: int | None
    started_at: float
    finished_at: float
    error: str = ""
    timed_out: bool = False
    terminated: bool = False
    result: str | None = None
    parameters: dict[str, str] = {}
    artifacts: tuple[CollectedArtifact, ...] = ()
    missing: tuple[str, ...] = ()
    containers: tuple[ContainerEnd, ...] = ()
    progress: str = ""
    """The last that the pod said of its progress."""
    message: str = ""
    """What a command that failed has left for people to read."""


class PodNews(Struct, frozen=True, kw_only=True):
    """What is known of a pod that runs. `progress`: `n/m`, as it says itself; `ready`: containers whose probe succeeds."""

    key: PodKey
    progress: str = ""
    ready: tuple[str, ...] = ()


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a pod's output. `time`: RFC 3339 with nanoseconds; `stream`: `stdout` or `stderr`."""

    time: str
    stream: str
    content: str
