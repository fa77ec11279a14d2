"""Whom the command line believes to be the server."""

import ssl

from jitflow.cli.errors import CliError
from jitflow.cli.wire import Endpoint


def trust(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """Return what a server's certificate is checked with.

    Raises:
        CliError: the file of authorities cannot be used.
    """
    if not endpoint.url.startswith("https://"):
        return False  # nothing to check, and the machine's authorities need not be read
    if not endpoint.ca:
        return True
    try:
        context = ssl.create_default_context(cafile=endpoint.ca)
    except ssl.SSLError as error:
        raise CliError(f"{endpoint.ca}: holds no PEM certificates: {error}") from error
    except OSError as error:
        raise CliError(f"{endpoint.ca}: cannot read the certificates: {error.strerror}") from error
    # A file may hold the server's own certificate, or one below the root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A certificate that was read from the server's own settings is that server's, by whatever address it is called.
    context.check_hostname = not endpoint.pinned
    return context
