"""The page of the API's descriptions: what it may load, and whom it may call."""

import pytest
from tests.security.access_kit import House

from jitflow.control_api.pages import PATHS

pytestmark = pytest.mark.pure


def test_the_page_needs_no_token_and_may_speak_with_its_own_server_only():
    async def scenario(house: House) -> None:
        for path in PATHS:
            answer = await house.ask("", "GET", path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "connect-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert "http://" not in answer.text.replace("http://www.w3.org", "")
            assert "https://" not in answer.text, "nothing is loaded from elsewhere"
        assert (await house.ask("", "POST", "/docs")).status_code == 405
        assert (await house.ask("", "GET", "/docs/other.js")).status_code == 401

    House().play(scenario)
