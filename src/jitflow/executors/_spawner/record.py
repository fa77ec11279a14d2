"""What the server writes for a parent (`pod.json`) and what the parent answers (`end.json`), and a pod's errors."""

import binascii
import json
import os
import time
from typing import Any, NotRequired, TypedDict

SCHEMA = 1


class Input(TypedDict):
    """`jitflow.model.pods.PodInput`."""

    name: str
    path: str
    source: str
    delivery: str
    mode: int | None
    recurse: bool


class File(TypedDict):
    """`jitflow.model.pods.PodFile`; the content is base64."""

    path: str
    content: str
    mode: int
    secret: bool


class Output(TypedDict):
    """`jitflow.model.pods.PodOutput`; of the kind `log` it is the container's log."""

    name: str
    path: str
    kind: str
    archive: str
    compression_level: int


class Volume(TypedDict):
    """`jitflow.model.pods.PodVolume`."""

    name: str
    path: str
    source: str
    sub_path: str
    read_only: bool
    memory: bool
    size_limit_bytes: int | None


class Image(TypedDict):
    """`jitflow.model.pods.PodImage`, as far as it is read here."""

    name: str
    root: str
    files: dict[str, str]


class Probe(TypedDict):
    """`jitflow.model.pods.PodProbe`."""

    command: list[str]
    initial_delay_s: float
    period_s: float
    timeout_s: float
    successes: int


class Pod(TypedDict):
    """`jitflow.model.pods.Pod`."""

    key: str
    name: str
    image: Image
    command: list[str]
    env: list[list[str]]
    working_dir: str
    files: list[File]
    inputs: list[Input]
    outputs: list[Output]
    volumes: list[Volume]
    deadline_s: float | None
    grace_s: float
    capture_result: bool
    address: str
    tty: bool
    message_path: str
    message_from_log: bool
    probe: Probe | None
    hidden: NotRequired[list[str]]


class Plan(TypedDict):
    """`jitflow.executors._pod_directory.Plan`."""

    schema: int
    root: str
    user_namespace: bool
    hidden: list[str]
    env: dict[str, str]
    working_dir: str
    directory: str
    volumes: str


class Container(TypedDict):
    """`jitflow.executors._pod_directory.ContainerRecord`."""

    name: str
    role: str
    dependencies: list[str]
    retries: int
    retry_delay_s: float
    pod: Pod
    plan: Plan


class Record(TypedDict):
    """The content of `pod.json`; `containers` only for a pod of several."""

    pod: Pod
    plan: Plan
    containers: NotRequired[list[Container]]


class PodError(Exception):
    """Something the pod asked for cannot be done; the text is shown to people."""


class Interrupted(Exception):
    """The pod was terminated, or ran out of time, while its parent prepared it or collected its outputs."""


def load(text: bytes) -> Record:
    """Read `pod.json`."""
    return json.loads(text)


def content_of(file: File) -> bytes:
    """Return the bytes of a file to be made in the pod."""
    return binascii.a2b_base64(file["content"])


class End:
    """The end of a pod in the making."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.exit_code: int | None = None
        self.started_at = time.time()
        self.errors: list[str] = []
        self.timed_out = False
        self.terminated = False
        self.result: str | None = None
        self.parameters: dict[str, str] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.missing: list[str] = []
        self.containers: list[dict[str, Any]] = []
        self.progress = ""
        self.message = ""

    def write(self, directory_fd: int) -> None:
        """Record the end: a reader sees all of it or nothing."""
        value = {
            "key": self.key,
            "exit_code": self.exit_code,
            "started_at": self.started_at,
            "finished_at": time.time(),
            "error": "; ".join(self.errors),
            "timed_out": self.timed_out,
            "terminated": self.terminated,
            "result": self.result,
            "parameters": self.parameters,
            "artifacts": self.artifacts,
            "missing": self.missing,
            "containers": self.containers,
            "progress": self.progress,
            "message": self.message,
        }
        fd = os.open("end.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=directory_fd)
        with open(fd, "wb") as file:
            file.write(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
        os.rename("end.tmp", "end.json", src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


def describe(error: BaseException) -> str:
    """Return an error as one line for people."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return str(error) or type(error).__name__
