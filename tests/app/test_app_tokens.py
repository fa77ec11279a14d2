"""The token file."""

import stat
import threading
from pathlib import Path

import pytest

from jitflow.app.tokens import ensure_token
from jitflow.model.problems import Refused


def test_a_token_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "home" / "token"
    token = ensure_token(path)
    assert len(token) >= 40
    assert ensure_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["token"]


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(ensure_token(tmp_path / "token"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"two words that are long enough", b"\xff" * 40])
def test_a_file_without_a_usable_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Refused, match="remove it"):
        ensure_token(path)
    assert path.read_bytes() == content


def test_a_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = ensure_token(path)
    path.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600") as caught:
        ensure_token(path)
    assert token not in str(caught.value)


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused, match="file/token"):
        ensure_token(tmp_path / "file" / "token")
    (tmp_path / "token").symlink_to(tmp_path / "file")
    with pytest.raises(Refused):
        ensure_token(tmp_path / "token")
