"""`GET /api/jit/v1/workflows/{namespace}/{name}/provenance`: a run as an RO-Crate."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.app.service import Service
from jitflow.model.problems import Refused

PATH = "/api/jit/v1/workflows/{namespace}/{name}/provenance"
JSON_LD = 'application/ld+json; profile="https://w3id.org/ro/crate"'
ZIP = "application/zip"


def routes(service: Service) -> list[BaseRoute]:
    """Return the table."""

    async def provenance(request: Request) -> Response:
        path, query = request.path_params, request.query_params
        form = query.get("format", "json")
        if form not in {"json", "zip"}:
            raise Refused(f"format must be json or zip, got {form[:80]!r}")
        crate = await service.provenance.crate(service.find(path["namespace"], path["name"], uid=query.get("uid", "")))
        if form == "zip":
            name = f"{path['name'].removeprefix('@')}.crate.zip"
            return Response(crate.packed(), media_type=ZIP, headers={"content-disposition": f'attachment; filename="{name}"'})
        return Response(msgspec.json.encode(crate.metadata), headers={"content-type": JSON_LD})

    return [Route(PATH, provenance, methods=["GET"])]
