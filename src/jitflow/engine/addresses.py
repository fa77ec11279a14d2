"""What a node's pod is called, and the loopback address that follows from it."""

import hashlib


def pod_key(uid: str, node_id: str) -> str:
    """Return the executor's key of a node's pod."""
    return f"{uid}.{node_id}"


def address_of(pod_key: str) -> str:
    """Return the loopback address of a pod: always the same for the same pod, another one for each."""
    digest = hashlib.sha256(pod_key.encode()).digest()
    return f"127.{64 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 254}"
