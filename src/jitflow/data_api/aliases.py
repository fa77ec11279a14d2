"""The endpoints of the service that jitflow comes from, `/rclone/…`, for clients that still call them.

Each translates to what `/data/v1` does. Their answers have that service's shapes, `{"message": …}` and `{"error": …}`.
"""

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.app.dataservice import DataService
from jitflow.app.files import FileService
from jitflow.app.refs import parse_ref
from jitflow.app.transfers import TransferJobs
from jitflow.data_api.answers import answer, number, read
from jitflow.data_api.bodies import OldCopyBody, OldFolderBody, OldRemoteBody, OldSyncBody
from jitflow.data_api.forms import Form
from jitflow.model.jobs import JobPhase, JobView, JobWish
from jitflow.model.problems import Refused

WAIT_S, MOST_WAIT_S = 300, 3600
MOST_FILES = 100_000
MOST_FOLDERS = 100
_SHOWN_FILES = 5


class AliasRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, service: DataService, jobs: TransferJobs, files: FileService) -> None:
        """Hold the use-cases."""
        self._service = service
        self._jobs = jobs
        self._files = files

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/rclone/configure", self.remotes),
            ("POST", "/rclone/configure", self.configure),
            ("DELETE", "/rclone/configure/{name}", self.remove_remote),
            ("GET", "/rclone/get-endpoint-alias", self.endpoint_alias),
            ("GET", "/rclone/check", self.check),
            ("POST", "/rclone/copy", self.copy),
            ("POST", "/rclone/sync", self.sync),
            ("POST", "/rclone/upload", self.upload),
            ("GET", "/rclone/files", self.list_files),
            ("GET", "/rclone/list-files/{remote}", self.list_files),
            ("GET", "/rclone/list-files/{remote}/{folder:path}", self.list_files),
            ("DELETE", "/rclone/files", self.delete_file),
            ("DELETE", "/rclone/files/{file_path:path}", self.delete_file),
            ("GET", "/rclone/folders", self.list_folders),
            ("GET", "/rclone/list-folders", self.list_folders),
            ("POST", "/rclone/folder", self.make_folder),
            ("POST", "/rclone/folders", self.make_folder),
            ("DELETE", "/rclone/folder", self.remove_folder),
            ("DELETE", "/rclone/folders", self.remove_folder),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    # Remotes.

    async def remotes(self, _: Request) -> Response:
        """Return remotes as `rclone config dump` does, secrets hidden."""
        return answer({one.name: {"type": one.type, **one.options} for one in self._service.remotes()})

    async def configure(self, request: Request) -> Response:
        """Add a remote, or give one that there is these options and no others."""
        body = await read(request, OldRemoteBody)
        options = _options(body)
        if any(one.name == body.name for one in self._service.remotes()):
            await self._service.change_remote(body.name, body.type, options, whole=True)
        else:
            await self._service.add_remote(body.name, body.type, options)
        return answer({"message": f"remote '{body.name}' is configured"})

    async def remove_remote(self, request: Request) -> Response:
        """Forget a remote."""
        name = request.path_params["name"]
        await self._service.remove_remote(name)
        return answer({"message": f"remote '{name}' is deleted"})

    async def endpoint_alias(self, request: Request) -> Response:
        """Say which remote has an endpoint, or that name."""
        endpoint = _needed(request, "endpoint")
        for one in self._service.remotes():
            known = one.options.get("endpoint", "")
            if one.name == endpoint or (known and known.rstrip("/") == endpoint.rstrip("/")):
                return answer({"alias": one.name})
        raise Refused(f"no remote has the endpoint or name {endpoint[:200]!r}", code="not_found")

    # Files and folders.

    async def check(self, request: Request) -> Response:
        """Say whether a file or folder is there."""
        path, file = _needed(request, "path"), request.query_params.get("file", "")
        found = await self._files.exists(joined(path, file))
        said = f"'{path}':'{file}' " + ("exists" if found.exists else "does not exist")
        return answer({"message": said}, status=200 if found.exists else 404)

    async def list_files(self, request: Request) -> Response:
        """List all files below a folder."""
        given = _given(request)
        ref = _folder(_remote_of(given), given.get("folder", ""))
        found = await self._service.objects(ref, recursive=True, most=MOST_FILES)
        if found.truncated:
            raise Refused(f"more than {MOST_FILES:,} files lie below {ref[:200]}; list the folders in it one by one")
        above = len(parse_ref(ref).path)
        files = [one for one in found.items if not one.ref.is_prefix]
        return answer([{"file_name": one.ref.path[above:], "size": one.size_bytes} for one in files])

    async def list_folders(self, request: Request) -> Response:
        """List the folders right below a remote or folder."""
        ref = _folder(_needed(request, "remote"), request.query_params.get("folder", ""))
        found = await self._service.objects(ref, most=MOST_FILES)
        return answer({"folders": [posixpath.basename(one.ref.path[:-1]) for one in found.items if one.ref.is_prefix]})

    async def make_folder(self, request: Request) -> Response:
        """Make a folder."""
        body = await read(request, OldFolderBody)
        await self._files.make_folder(joined(body.remote, body.folder))
        return answer({"message": f"folder '{body.folder}' is created in '{body.remote}'"}, status=201)

    async def remove_folder(self, request: Request) -> Response:
        """Delete a folder with all that is in it."""
        body = await read(request, OldFolderBody)
        await self._files.remove_folder(_folder(body.remote, body.folder), recursive=True)
        return answer({"message": f"folder '{body.folder}' is deleted in '{body.remote}'"})

    async def delete_file(self, request: Request) -> Response:
        """Delete a file; without `remote` in the query, the path begins with it."""
        given = _given(request)
        path = given.get("file_path", "")
        remote = given.get("remote", "")
        if not remote:
            remote, _, path = path.replace(":", "/", 1).partition("/")
        if not remote or not path:
            raise Refused("the remote or the file is missing; write /rclone/files/PATH?remote=NAME")
        await self._files.delete(joined(remote, path))
        return answer({"message": f"file '{path}' is deleted from '{remote}'"})

    async def upload(self, request: Request) -> Response:
        """Store the file of a form."""
        form = Form(request.headers.get("content-type", ""), request.stream())
        texts: dict[str, str] = {}
        path: Path | None = None
        try:
            while (part := await form.next()) is not None:
                if part.name != "file":
                    texts[part.name] = await form.text()
                    continue
                if path is not None:
                    raise Refused("the form has two files; send each with a request of its own")
                texts["file"] = posixpath.basename(part.filename.replace("\\", "/"))
                path = await self._files.arrivals.take(form.body())
            remote, folder, name = (texts.get(key, "") for key in ("remote", "folder", "file"))
            if path is None or not name or not remote:
                raise Refused("the form needs a field remote, and a field file with a file and its name")
            await self._files.keep(joined(remote, f"{folder.strip('/')}/{name}"), path)
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        return answer({"message": f"file '{name}' is uploaded to '{remote}/{folder}'"}, status=201)

    # Transfers.

    async def copy(self, request: Request) -> Response:
        """Copy files, and wait for that."""
        body = await read(request, OldCopyBody)
        if not body.files:
            raise Refused("no files are named; list those to copy in files")
        files = tuple(path.strip("/") for path in body.files)
        source, destination = _folder(body.source), _folder(body.destination)
        wish = JobWish(kind="copy", source=source, destination=destination, files=files, transfers=body.parallel_files or 1)
        return await self._done(request, [wish], "all files are copied")

    async def sync(self, request: Request) -> Response:
        """Make folders the same as others, and wait for that."""
        body = await read(request, OldSyncBody)
        folders = tuple(body.folders or ("",))
        if len(folders) > MOST_FOLDERS:
            raise Refused(f"{len(folders)} folders are too many for one request; send at most {MOST_FOLDERS}")
        pairs = [(_folder(body.source, folder), _folder(body.destination, folder)) for folder in folders]
        for ref in {ref for pair in pairs for ref in pair}:  # all of them, before the first job begins
            self._service.remote(parse_ref(ref).remote)
        count = body.parallel_files or 1
        wishes = [JobWish(kind="sync", source=source, destination=to, transfers=count) for source, to in dict.fromkeys(pairs)]
        return await self._done(request, wishes, "all folders are synchronized")

    async def _done(self, request: Request, wishes: Sequence[JobWish], said: str) -> Response:
        """Make jobs and wait for them: so long, and no longer."""
        wait_s = number(request, "wait_s", WAIT_S)
        if wait_s > MOST_WAIT_S:
            raise Refused(f"wait_s is {wait_s}; write at most {MOST_WAIT_S}")
        jobs = await self._made(wishes)
        try:
            async with asyncio.timeout(wait_s):
                views = [await self._jobs.wait(job) for job in jobs]
        except TimeoutError:
            views = [self._jobs.get(job) for job in jobs]
        places = [f"/data/v1/jobs/{job}" for job in jobs]
        if bad := [view for view in views if view.phase in {JobPhase.FAILED, JobPhase.CANCELLED}]:
            reasons = "; ".join([await self._reason(view) for view in bad])
            # The stores behind this server did not do it: that is not this server's failure.
            return answer({"error": reasons, "jobs": places}, status=502)
        if all(view.phase is JobPhase.SUCCEEDED for view in views):
            return answer({"message": said, "jobs": places})
        waiting = answer({"message": "still at work; ask the jobs how far they are", "jobs": places}, status=202)
        waiting.headers["location"] = places[0]
        return waiting

    async def _made(self, wishes: Sequence[JobWish]) -> list[str]:
        """Make all jobs, or none."""
        made: list[str] = []
        try:
            for wish in wishes:
                made.append((await self._jobs.make(wish)).id)
        except BaseException:
            for job in made:
                await self._jobs.cancel(job)
            raise
        return made

    async def _reason(self, view: JobView) -> str:
        """Return why a job came to nothing, with the first files that failed."""
        failed = (await self._jobs.files(view.id, state="failed", limit=_SHOWN_FILES)).items
        files = "".join(f"; {one.path}: {one.message}" for one in failed)
        return f"{view.wish.source} to {view.wish.destination}: {view.message or view.phase}{files}"


def joined(base: str, path: str) -> str:
    """Return the reference of what is below a remote (`far`, `far:`) or a place of one (`far:bucket/in`).

    Slashes between them, and before the first name, count once: the older service left that to rclone.
    """
    remote, _, first = base.partition(":")
    parts = [part.strip("/") for part in (first, path) if part.strip("/")]
    end = "/" if (path or first).endswith("/") and parts else ""
    return f"{remote}:{'/'.join(parts)}{end}"


def _folder(base: str, path: str = "") -> str:
    """Return the reference of everything below."""
    ref = joined(base, path)
    return ref if ref.endswith((":", "/")) else f"{ref}/"


def _given(request: Request) -> dict[str, str]:
    """Return the parameters of the path and, where that has none, of the query."""
    return {**request.query_params, **{name: text for name, text in request.path_params.items() if text}}


def _remote_of(given: dict[str, str]) -> str:
    if not given.get("remote"):
        raise Refused("query parameter remote is missing; write ?remote=NAME")
    return given["remote"]


def _needed(request: Request, name: str) -> str:
    text = request.query_params.get(name, "")
    if not text:
        raise Refused(f"query parameter {name} is missing; write ?{name}=…")
    return text


def _options(body: OldRemoteBody) -> dict[str, str]:
    """Return the options as rclone has them."""
    known = {
        "access_key_id": body.access_key,
        "secret_access_key": body.secret_key,
        "endpoint": body.endpoint,
        "remote": body.remote,
    }
    more = {name: _text(value) for name, value in (body.additional_options or {}).items()}
    return {name: value for name, value in known.items() if value} | more


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_text(one) for one in value)  # pyright: ignore[reportUnknownVariableType] - JSON
    return msgspec.json.encode(value).decode()
