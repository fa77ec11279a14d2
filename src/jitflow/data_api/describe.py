"""What the Data API serves, as OpenAPI 3.1."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgspec import Struct

from jitflow.data_api.bodies import (
    AdoptBody,
    BandwidthBody,
    BudgetsBody,
    CheckBody,
    CopyBody,
    LinkBody,
    PinBody,
    RefBody,
    RefsBody,
    RemoteBody,
    RemoteChangeBody,
    RemoteOptionsBody,
    RetryBody,
    TestBody,
)
from jitflow.data_api.older import aliases
from jitflow.model.data import ObjectInfo, ObjectRef, Replica
from jitflow.model.files import Existence, Folder, Link, MultipartView, PartInfo
from jitflow.model.inventory import InventoryPage, InventoryView
from jitflow.model.jobs import JobFiles, JobPage, JobView, JobWish
from jitflow.model.reports import (
    Adoption,
    BandwidthInfo,
    LinkInfo,
    Listing,
    PinView,
    Primary,
    PrimaryCheck,
    ProviderDetail,
    ProviderInfo,
    QuotaView,
    RemoteInfo,
    Stat,
    Upload,
)
from jitflow.model.spending import BudgetView, Spent
from jitflow.model.staging import StagingEstimate
from jitflow.openapi import BYTES, Operation, Query, document, with_examples

_EXAMPLES = Path(__file__).with_name("examples.json")
"""By operation: an answer as a server gave it, and a body where the table has none."""

_REF = (Query("ref", about="`remote:path`; a path that ends in `/` is everything below it.", required=True),)
_PAYER = Query("namespace", about="Who pays for what moves; without it `default`.")
_PAGE = (
    Query("limit", "integer", about="So many replicas at most: 1 to 10,000; without it 1,000."),
    Query("cursor", about="`next` of the page before; without it the first page."),
)
_REMOTE = "/data/v1/remotes/{name}"
_UPLOADS = "/data/v1/uploads"
_PRIMARY = "/data/v1/primary"
_LINKS = "/data/v1/links"
_BANDWIDTH = "/data/v1/bandwidth"
_BUDGETS = "/data/v1/budgets"
_INVENTORY = "/data/v1/inventory"
_JOBS = "/data/v1/jobs"
_CONTENT = "/data/v1/content"
_FOLDERS = "/data/v1/folders"
_PARTS = "/data/v1/multipart"
_JOB = _JOBS + "/{id}"
_ABOUT = "Far stores (remotes), their objects, and the primary: the near store. Sizes are in bytes, references `{remote, path}`."


class Failure(Struct, frozen=True):
    """An error. `code`: gRPC's number for it."""

    code: int
    message: str


class RemoteList(Struct, frozen=True):
    """Remotes, secrets hidden."""

    items: Sequence[RemoteInfo]


class UploadList(Struct, frozen=True):
    """Outputs that are not at their far stores."""

    items: Sequence[Upload]


class PinList(Struct, frozen=True):
    """What is pinned, in the caller's namespaces."""

    items: Sequence[PinView]


class QuotaList(Struct, frozen=True):
    """What the caller's namespaces have in the primary, and may have."""

    items: Sequence[QuotaView]


class InventoryList(Struct, frozen=True):
    """Listings of far stores that are kept."""

    items: Sequence[InventoryView]


class BudgetList(Struct, frozen=True):
    """What the caller's namespaces may spend, and have spent."""

    items: Sequence[BudgetView]


class SpentList(Struct, frozen=True):
    """What the caller's namespaces have moved and spent."""

    items: Sequence[Spent]


class LinkList(Struct, frozen=True):
    """Links that were used, or have a limit."""

    items: Sequence[LinkInfo]


class RefList(Struct, frozen=True):
    """Objects."""

    items: Sequence[ObjectRef]


class Done(Struct, frozen=True):
    """Nothing more to say."""


class ProviderList(Struct, frozen=True):
    """Types of far stores."""

    items: Sequence[ProviderInfo]


class Tested(Struct, frozen=True):
    """The remote answers."""

    ok: bool


def operations() -> list[Operation]:
    """Return every operation of the Data API."""
    remote = {"name": "far", "type": "s3", "options": {"provider": "Minio", "endpoint": "https://minio.example.org"}}
    return [
        _one("listRemotes", "GET", "/data/v1/remotes", "List remotes", answer=RemoteList),
        _one("addRemote", "POST", "/data/v1/remotes", "Add a remote", body=RemoteBody, answer=RemoteInfo, example=remote),
        _one("getRemote", "GET", _REMOTE, "Describe a remote", answer=RemoteInfo),
        _one(
            "replaceRemote", "PUT", _REMOTE, "Give a remote these options and no others",
            body=RemoteOptionsBody, answer=RemoteInfo, example={"options": remote["options"]},
        ),
        _one(
            "changeRemote", "PATCH", _REMOTE, "Change some options of a remote; null takes one away",
            body=RemoteChangeBody, answer=RemoteInfo, example={"options": {"endpoint": "https://minio2.example.org"}},
        ),
        _one("listProviders", "GET", "/data/v1/providers", "List the types of far stores", answer=ProviderList),
        _one("getProvider", "GET", "/data/v1/providers/{name}", "Describe a type of far store", answer=ProviderDetail),
        _one("removeRemote", "DELETE", _REMOTE, "Forget a remote", answer=Done),
        _one("testRemote", "POST", _REMOTE + "/test", "Try whether a remote, or a bucket of it, answers",
             body=TestBody, optional_body=True, answer=Tested, example={"path": "bucket/"}),
        _one(
            "listObjects", "GET", "/data/v1/objects", "List what lies below a prefix",
            query=(*_REF, Query("recursive", "boolean")), answer=Listing,
        ),
        _one("stat", "GET", "/data/v1/stat", "Describe an object and its replica", query=_REF, answer=Stat),
        _one("primary", "GET", _PRIMARY, "Say how full the primary is, and of what", query=_PAGE, answer=Primary),
        _one(
            "explainStaging", "POST", _PRIMARY + "/explain", "Say what staging objects would take: bytes, time, room",
            body=RefsBody, answer=StagingEstimate, example={"refs": ["far:inputs/a.dat", "far:inputs/2024/"]},
        ),
        _one("stage", "POST", _PRIMARY + "/stage", "Fetch an object", body=RefBody, answer=Replica, example=_EXAMPLE),
        _one(
            "pin", "POST", _PRIMARY + "/pin", "Keep a replica, or everything below a prefix",
            body=PinBody, answer=PinView, example=_EXAMPLE,
        ),
        _one("unpin", "POST", _PRIMARY + "/unpin", "Take a pin away", body=PinBody, answer=PinView, example=_EXAMPLE),
        _one("pins", "GET", "/data/v1/pins", "List what is pinned", answer=PinList),
        _one("quotas", "GET", "/data/v1/quotas", "Say what namespaces have in the primary, and may have", answer=QuotaList),
        _one("evict", "POST", _PRIMARY + "/evict", "Remove a replica", body=RefBody, answer=Done, example=_EXAMPLE),
        _one(
            "check", "POST", _PRIMARY + "/check", "Compare the catalogue with what is really there",
            body=CheckBody, answer=PrimaryCheck, example={"remove": False},
        ),
        _one(
            "adopt", "POST", _PRIMARY + "/adopt", "Take files that are near already for objects",
            body=AdoptBody, answer=Adoption, example={"place": "/data/inputs", "ref": "far:inputs/"},
        ),
        _one(
            "budgets", "GET", _BUDGETS, "Say what namespaces may move and spend in this period, and have moved and spent",
            answer=BudgetList,
        ),
        _one(
            "setBudgets", "PUT", _BUDGETS, "Give namespaces (`*`: each that is not named) other budgets",
            body=BudgetsBody, answer=BudgetList,
            example={"budgets": {"ocean": {"moved": "2TiB", "money": {"EUR": 50}, "period": "month"}}},
        ),
        _one(
            "spending", "GET", "/data/v1/spending", "Say what namespaces have moved and spent, by day and remote",
            query=(
                Query("namespace", about="Only of this one."),
                Query("since", about="From this day on, `2026-11-28`."),
                Query("until", about="Up to this day."),
            ),
            answer=SpentList,
        ),
        _one("inventories", "GET", "/data/v1/inventories", "List the listings of far stores that are kept", answer=InventoryList),
        _one(
            "inventory", "GET", _INVENTORY, "Tell a page of the kept listing of a prefix",
            query=(
                *_REF,
                Query("limit", "integer", about="So many objects at most: 1 to 10,000; without it 1,000."),
                Query("cursor", about="`next` of the page before."),
            ),
            answer=InventoryPage,
        ),
        _one(
            "refreshInventory", "POST", _INVENTORY + "/refresh",
            "List everything below a prefix, keep that, and mark what is near and has changed",
            body=RefBody, answer=InventoryView, example={"ref": "far:inputs/"},
        ),
        _one("links", "GET", _LINKS, "Say what is known of the far stores' links", answer=LinkList),
        _one("bandwidth", "GET", _BANDWIDTH, "List the limits of bandwidth", answer=BandwidthInfo),
        _one(
            "limitBandwidth", "PUT", _BANDWIDTH, "Hold other limits of bandwidth, of remotes or (`*`) of all together",
            body=BandwidthBody, answer=BandwidthInfo, example={"limits": {"*": "08:00,10M 19:00,off"}, "time_zone": "UTC"},
        ),
        _one("uploads", "GET", _UPLOADS, "List outputs that are not at their far stores", answer=UploadList),
        _one(
            "retryUploads", "POST", _UPLOADS + "/retry", "Send again what could not be sent, one or all",
            body=RetryBody, answer=RefList, example={"ref": ""},
        ),
        _one("dropUpload", "POST", _UPLOADS + "/drop", "Delete an output that could not be sent", body=RefBody, answer=Done,
             example=_EXAMPLE),
        *_files(),
        *_jobs(),
        *aliases(),
        _one("openapi", "GET", "/data/v1/openapi.json", "This description", answer={"type": "object"}),
    ]  # fmt: skip


def _files() -> list[Operation]:
    content = {"type": "string", "format": "binary"}
    pair = {"source": "far:inputs/a.dat", "destination": "far:archive/"}
    return [
        _one(
            "download", "GET", _CONTENT, "Send a file; `Range`, `If-Match`, `If-None-Match` and `If-Range` are understood",
            query=(*_REF, _PAYER), answer=content, media=BYTES,
        ),
        _one(
            "upload", "PUT", _CONTENT, "Store the body as a file; `If-None-Match: *`: a new one; `Content-MD5` is checked",
            query=(*_REF, _PAYER), body=content, sent=BYTES, answer=ObjectInfo,
        ),
        _one("deleteFile", "DELETE", _CONTENT, "Delete a file", query=_REF, answer=Done),
        _one("exists", "GET", "/data/v1/exists", "Say whether a file or folder is there", query=_REF, answer=Existence),
        _one("makeFolder", "POST", _FOLDERS, "Make a folder", body=RefBody, answer=Folder, example={"ref": "far:inputs/"}),
        _one(
            "removeFolder", "DELETE", _FOLDERS, "Remove a folder that is empty, or with all that is in it",
            query=(*_REF, Query("recursive", "boolean")), answer=Done,
        ),
        _one("copyFile", "POST", "/data/v1/files/copy", "Copy a file", body=CopyBody, answer=ObjectInfo, example=pair),
        _one("moveFile", "POST", "/data/v1/files/move", "Move a file", body=CopyBody, answer=ObjectInfo, example=pair),
        _one(
            "linkFile", "POST", "/data/v1/files/link", "Make a link by which anybody can read a file, where its store can",
            body=LinkBody, answer=Link, example={"ref": "far:inputs/a.dat", "expires_s": 3600},
        ),
        _one("beginUpload", "POST", _PARTS, "Begin an upload in parts", body=RefBody, answer=MultipartView, example=_EXAMPLE),
        _one("uploadState", "GET", _PARTS + "/{id}", "Say which parts of an upload have arrived", answer=MultipartView),
        _one("abortUpload", "DELETE", _PARTS + "/{id}", "Forget an upload and its parts", answer=Done),
        _one(
            "putPart", "PUT", _PARTS + "/{id}/{number}", "Send a part, 1 to 10,000, in any order; again: in its place",
            body=content, sent=BYTES, answer=PartInfo,
        ),
        _one("completeUpload", "POST", _PARTS + "/{id}/complete", "Store all parts as one file",
             query=(_PAYER,), answer=ObjectInfo),
    ]  # fmt: skip


def _jobs() -> list[Operation]:
    page = (Query("limit", "integer", about="So many at most: 1 to 1,000."), Query("cursor", about="`next` of the page before."))
    example = {
        "kind": "copy",
        "source": "far:inputs/",
        "destination": "near:inputs/",
        "filters": {"include": ["*.tif"], "max_size": "1GiB"},
        "transfers": 16,
        "bandwidth": "08:00,10M 19:00,off",
    }
    return [
        _one(
            "makeJob", "POST", _JOBS, "Copy, sync, move, check or delete what lies below a prefix, as a durable job",
            body=JobWish, answer=JobView, example=example,
        ),
        _one(
            "listJobs", "GET", _JOBS, "List transfer jobs, newest first",
            query=(Query("phase", about="Only jobs in it."), *page), answer=JobPage,
        ),
        _one("getJob", "GET", _JOB, "Describe a transfer job", answer=JobView),
        _one("forgetJob", "DELETE", _JOB, "Forget a transfer job that is over", answer=Done),
        _one(
            "jobFiles", "GET", _JOB + "/files", "Say what a transfer job did with each file",
            query=(Query("state", about="Only files in it, for example `failed`."), *page), answer=JobFiles,
        ),
        _one("followJob", "GET", _JOB + "/events", "Tell of a transfer job whenever it has changed, until it is over",
             answer=JobView, stream=True),
        _one("pauseJob", "POST", _JOB + "/pause", "Let a transfer job rest: what has arrived stays", answer=JobView),
        _one("resumeJob", "POST", _JOB + "/resume", "Let a transfer job that rests, or has failed, go on", answer=JobView),
        _one("cancelJob", "POST", _JOB + "/cancel", "End a transfer job; what has arrived stays", answer=JobView),
    ]  # fmt: skip


_EXAMPLE = {"ref": "far:inputs/a.dat"}


def _one(name: str, method: str, path: str, summary: str, **rest: Any) -> Operation:
    tag = (
        "Uploads"
        if path.startswith(_UPLOADS)
        else "Primary"
        if path.startswith((_PRIMARY, "/data/v1/pins", "/data/v1/quotas"))
        else "Jobs"
        if path.startswith(_JOBS)
        else "Links"
        if path in {_LINKS, _BANDWIDTH}
        else "Spending"
        if path in {_BUDGETS, "/data/v1/spending"}
        else "Files"
        if path.startswith((_CONTENT, _FOLDERS, _PARTS, "/data/v1/files", "/data/v1/exists"))
        else "Remotes"
        if "remotes" in path or "providers" in path
        else "Objects"
    )
    return Operation(id=name, method=method, path=path, summary=summary, tag=tag, **rest)


def data_document() -> dict[str, Any]:
    """Return the OpenAPI document of the Data API."""
    shown = with_examples(operations(), json.loads(_EXAMPLES.read_text(encoding="utf-8")))
    return document(shown, title="jitflow Data API", version=version("jitflow"), about=_ABOUT, error=Failure)
