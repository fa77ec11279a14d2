"""`GET /metrics`: what Prometheus reads."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.telemetry.metrics import CONTENT_TYPE, Exposition

PATH = "/metrics"


def routes(exposition: Exposition) -> list[BaseRoute]:
    """Return the table.

    The path needs the token like every other: labels hold names and values of people's workflows. A Prometheus sends it with
    `authorization: {credentials_file: …}`; where that cannot be done, the setting `server.open_metrics` opens the path.
    """

    async def metrics(_: Request) -> Response:
        return Response(exposition.text(), media_type=CONTENT_TYPE)

    return [Route(PATH, metrics, methods=["GET"])]
