"""Where a server is, and whom a client believes to be it."""

import ssl

from msgspec import Struct

from jitflow.client._errors import Untrusted


class Endpoint(Struct, frozen=True):
    """Where a server is, and what opens it.

    `ca`: a PEM file of authorities to believe instead of the machine's; `pinned`: it holds this very server's certificate.
    `socket`: a Unix socket through which the server is reached; `url` then only names it.
    """

    url: str
    token: str = ""
    ca: str = ""
    pinned: bool = False
    socket: str = ""


def endpoint_of(address: str, *, token: str = "", ca: str = "") -> Endpoint:
    """Return the endpoint of an address: a URL, `host:port`, or `unix:/path`."""
    if address.startswith("unix:"):
        return Endpoint("http://localhost", token, ca, socket=address.removeprefix("unix:").removeprefix("//"))
    return Endpoint(address if "://" in address else f"http://{address}", token, ca)


def trust(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """Return what a server's certificate is checked with.

    Raises:
        Untrusted: the file of authorities cannot be used.
    """
    if not endpoint.url.startswith("https://"):
        return False  # nothing to check, and the machine's authorities need not be read
    if not endpoint.ca:
        return True
    try:
        context = ssl.create_default_context(cafile=endpoint.ca)
    except ssl.SSLError as error:
        raise Untrusted(f"{endpoint.ca}: holds no PEM certificates: {error}") from error
    except OSError as error:
        raise Untrusted(f"{endpoint.ca}: cannot read the certificates: {error.strerror}") from error
    # A file may hold the server's own certificate, or one below the root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A certificate that was read from the server's own settings is that server's, by whatever address it is called.
    context.check_hostname = not endpoint.pinned
    return context
