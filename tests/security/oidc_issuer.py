"""An OpenID Connect issuer for tests: a small HTTP server with real keys, which can be changed while it runs."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "jitflow"


class Issuer:
    """Publishes keys and signs tokens. `reads`: paths that were asked for; `broken`: answers 500."""

    def __init__(self) -> None:
        """Make the first key, an RSA key named `one`; `with` starts the server."""
        self.keys: dict[str, Any] = {}
        self.reads: list[str] = []
        self.broken = False
        self.add_key("one", rsa.generate_private_key(public_exponent=65537, key_size=2048))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What its tokens name as `iss`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def add_key(self, kid: str, key: Any = None) -> None:
        """Publish one more key; an elliptic one if none is given."""
        self.keys[kid] = key or ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str = "one", *, key: Any = None, algorithm: str = "", lasts_s: float = 300.0, **claims: Any) -> str:
        """Return a signed token; `claims` replace its own, None leaves one out."""
        key = key or self.keys[kid]
        now = time.time()
        own = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": int(now), "exp": int(now + lasts_s)} | claims
        body = {name: value for name, value in own.items() if value is not None}
        chosen = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
        return jwt.encode(body, key, algorithm=chosen, headers={"kid": kid})

    def _jwks(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for kid, key in self.keys.items():
            is_rsa = isinstance(key, rsa.RSAPrivateKey)
            maker = RSAAlgorithm if is_rsa else ECAlgorithm
            found.append({**json.loads(maker.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
        return {"keys": found}

    def _answer(self, path: str) -> tuple[int, Any]:
        self.reads.append(path)
        if self.broken:
            return 500, {}
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return (200, self._jwks()) if path == "/keys" else (404, {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Be silent."""

            def do_GET(self) -> None:
                status, body = issuer._answer(self.path)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler
