"""http templates: one request, its answer as `outputs.result`."""

import asyncio
import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any
from urllib.request import getproxies

import httpx

from jitflow.agents._outputs import collected
from jitflow.agents.hosts import CheckedTransport, HostRules
from jitflow.expr.lang import LangError, compile_expression
from jitflow.model import argo
from jitflow.model.objects import Objects, Secret
from jitflow.model.problems import Refused
from jitflow.model.runs import RunTask
from jitflow.objects import secret_values
from jitflow.ports.agents import MAX_RESULT_BYTES, Report, TaskResult

DEFAULT_TIMEOUT_S = 30.0
MAX_REDIRECTS = 10
"""As many as Go's client follows."""


class HttpAgent:
    """Sends the requests of http templates. A restart of the server sends a request that was not answered again."""

    def __init__(self, objects: Objects, hosts: HostRules | None = None) -> None:
        """Take Secrets from `objects` and ask only `hosts` that the rules allow; without rules all but link-local addresses."""
        self._objects = objects
        self._hosts = hosts or HostRules()

    async def run(self, uid: str, task: RunTask, report: Report) -> TaskResult:
        """Send the request; see `Agent.run`."""
        del uid, report
        http = task.template.http
        assert http is not None, "the kind says so"
        secrets: list[str] = []
        headers = [(header.name, self._value(header, task.workflow_level.namespace, secrets)) for header in http.headers]
        try:
            request, response, body = await self._send(http, headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            message = f"{(http.method or 'GET').upper()} {http.url!r}: {str(error) or type(error).__name__}"
            return TaskResult(phase="Error", message=_redacted(message, secrets))
        outputs = collected(task.template, result=body)
        if not http.success_condition:
            if response.is_success:
                return TaskResult(phase="Succeeded", outputs=outputs)
            return TaskResult(phase="Failed", message=f"received non-2xx response code: {response.status_code}", outputs=outputs)
        environment = {
            "request": {
                "method": (http.method or "GET").upper(),
                "url": http.url,
                "body": _body(http).decode("utf-8", "replace"),
                "headers": _headers(request),
            },
            "response": {"statusCode": response.status_code, "body": body, "headers": _headers(response)},
        }
        try:
            holds = compile_expression(http.success_condition).evaluate(environment)
        except LangError as error:
            return TaskResult(phase="Error", message=_redacted(f"successCondition: {error}", secrets), outputs=outputs)
        if holds is True:
            return TaskResult(phase="Succeeded", outputs=outputs)
        return TaskResult(phase="Failed", message=f"successCondition '{http.success_condition}' evaluated false", outputs=outputs)

    async def _send(self, http: argo.HTTP, headers: list[tuple[str, str]]) -> tuple[httpx.Request, httpx.Response, str]:
        timeout_s = float(http.timeout_seconds or DEFAULT_TIMEOUT_S)
        try:
            async with (
                asyncio.timeout(timeout_s),
                httpx.AsyncClient(
                    verify=not http.insecure_skip_verify,
                    follow_redirects=True,
                    max_redirects=MAX_REDIRECTS,
                    timeout=timeout_s,
                    event_hooks={"request": [self._check]},
                    transport=self._transport(verify=not http.insecure_skip_verify),
                ) as client,
                client.stream((http.method or "GET").upper(), http.url, headers=headers, content=_body(http) or None) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_RESULT_BYTES:
                        raise Refused(f"the answer of {http.url!r} is longer than {MAX_RESULT_BYTES} bytes")
                first = response.history[0].request if response.history else response.request
                return first, response, body.decode("utf-8", "replace")
        except TimeoutError as error:
            raise OSError(f"no answer within {timeout_s:g} s (i/o timeout)") from error

    def _transport(self, *, verify: bool) -> CheckedTransport | None:
        """Return what connects to the address that was checked; None where a proxy of the environment connects instead."""
        return None if getproxies() else CheckedTransport(self._hosts, verify=verify)

    async def _check(self, request: httpx.Request) -> None:
        """Refuse hosts that the settings do not allow, redirects included."""
        await self._hosts.check(request.url.netloc.decode("ascii"))

    def _value(self, header: argo.HTTPHeader, namespace: str, secrets: list[str]) -> str:
        reference = header.value_from.secret_key_ref if header.value_from is not None else None
        if reference is None:
            return header.value or ""
        secret = self._objects.find(Secret, namespace, reference.name or "")
        value = None if secret is None else secret_values(secret).get(reference.key or "")
        if value is None:
            if reference.optional:
                return ""
            what = "not found" if secret is None else f"has no key {reference.key!r}"
            raise Refused(f'the header {header.name!r}: secret "{reference.name}" {what}')
        text = value.decode("utf-8", "replace").strip()
        secrets.append(text)
        return text


def _body(http: argo.HTTP) -> bytes:
    if http.body_from is not None and http.body_from.bytes is not None:
        try:
            return base64.b64decode(http.body_from.bytes, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("bodyFrom.bytes is not base64; write plain text under `body`") from None
    return (http.body or "").encode()


def _headers(message: httpx.Request | httpx.Response) -> Mapping[str, Any]:
    """Return headers as Go has them: canonical names, each with the list of its values."""
    found: dict[str, list[str]] = {}
    for name, value in message.headers.multi_items():
        canonical = "-".join(part.capitalize() for part in name.split("-"))
        found.setdefault(canonical, []).append(value)
    return found


def _redacted(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text
