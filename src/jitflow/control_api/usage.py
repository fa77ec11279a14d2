"""What namespaces have used: `/api/jit/v1/usage`."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.app.usage import UsageKeeper
from jitflow.control_api.requests import seconds
from jitflow.control_api.workflows import answer


def routes(usage: UsageKeeper) -> list[BaseRoute]:
    """Return the table."""

    async def read(request: Request) -> Response:
        """Tell what a namespace has used in some time."""
        since, until = seconds(request, "since"), seconds(request, "until")
        return answer(await usage.read(request.path_params["namespace"], since, until))

    return [Route("/api/jit/v1/usage/{namespace}", read, methods=["GET"])]
