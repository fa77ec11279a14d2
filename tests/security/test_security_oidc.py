"""JWTs of a real issuer at a real server of this machine: what is believed, what is not, and how keys change."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.security.access_kit import HERE, OWN, THERE, House
from tests.security.oidc_issuer import AUDIENCE, Issuer

from jitflow.access import Gate, Identity, Role
from jitflow.access import oidc as module
from jitflow.access.oidc import Issuer as Believed
from jitflow.access.oidc import OidcVerifier, RoleRule
from jitflow.model.problems import Refused

RULES = (
    RoleRule(claim="groups", value="ml", role=Role.OPERATOR, namespaces=(HERE,)),
    RoleRule(claim="groups", value="staff", role=Role.VIEWER, namespaces=(HERE, THERE)),
    RoleRule(claim="realm_access.roles", value="root", role=Role.ADMIN, namespaces=("*",)),
    RoleRule(claim="https://example.org/role", value="root", role=Role.ADMIN, namespaces=("*",)),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Issuer]:
    with Issuer() as found:
        yield found


@pytest.fixture
def issuer(server: Issuer) -> Issuer:
    """The issuer as it was at its beginning."""
    for kid in set(server.keys) - {"one"}:
        del server.keys[kid]
    server.reads.clear()
    server.broken = False
    return server


class Clock:
    """The machine's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead


def verifier(issuer: Issuer, clock: Clock | None = None, **more: Any) -> OidcVerifier:
    believed = Believed(issuer=issuer.url, audience=AUDIENCE, rules=RULES, **more)
    return OidcVerifier(believed, now=(clock or Clock()).now)


def verified(verifier: OidcVerifier, token: str) -> Identity:
    return asyncio.run(verifier.verify(token.encode()))


def test_claims_give_roles(issuer: Issuer) -> None:
    found = verified(verifier(issuer), issuer.token(groups=["ml", "staff"], email="ada@example.org"))
    assert (found.subject, found.issuer, found.email) == ("ada", issuer.url, "ada@example.org")
    assert found.grants == {HERE: Role.OPERATOR, THERE: Role.VIEWER}
    assert found.groups == ("ml", "staff")


@pytest.mark.parametrize("claims", [{"realm_access": {"roles": ["root"]}}, {"https://example.org/role": "root"}])
def test_claims_may_be_nested_or_have_dots_in_their_names(issuer: Issuer, claims: dict[str, Any]) -> None:
    assert verified(verifier(issuer), issuer.token(**claims)).grants == {"*": Role.ADMIN}


def test_keys_are_fetched_once(issuer: Issuer) -> None:
    used = verifier(issuer)

    async def crowd() -> None:
        tokens = [issuer.token(groups=["ml"], jti=str(number)) for number in range(20)]
        await asyncio.gather(*(used.verify(token.encode()) for token in tokens))

    asyncio.run(crowd())
    assert issuer.reads == ["/.well-known/openid-configuration", "/keys"]


def test_a_new_key_is_fetched_when_a_token_names_it(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    used = verifier(issuer, clock)
    verified(used, issuer.token(groups=["ml"]))
    issuer.add_key("two")
    with pytest.raises(Refused, match="publishes no key 'two'"):  # too soon after the last fetch
        verified(used, issuer.token("two", groups=["ml"]))
    clock.ahead += module.MIN_PAUSE_S + 1
    assert verified(used, issuer.token("two", groups=["ml"])).grants == {HERE: Role.OPERATOR}
    assert issuer.reads.count("/keys") == 2


def test_unknown_keys_do_not_make_the_server_ask_all_the_time(issuer: Issuer) -> None:
    used = verifier(issuer)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(20):
        with pytest.raises(Refused, match="no key"):
            verified(used, issuer.token(f"unknown-{number}", key=stranger, groups=["ml"]))
    assert issuer.reads.count("/keys") == 1


def test_a_key_that_is_gone_opens_nothing_once_the_keys_are_old(issuer: Issuer) -> None:
    clock = Clock()
    used = verifier(issuer, clock)
    issuer.add_key("two")
    token = issuer.token("two", groups=["ml"], lasts_s=1e6)
    verified(used, token)
    del issuer.keys["two"]
    clock.ahead += module.MAX_AGE_S + 1
    with pytest.raises(Refused, match="no key 'two'"):
        verified(used, token)


def test_known_keys_outlive_an_issuer_that_is_down(issuer: Issuer) -> None:
    clock = Clock()
    used = verifier(issuer, clock)
    verified(used, issuer.token(groups=["ml"]))
    issuer.broken = True
    clock.ahead += module.MAX_AGE_S + 1
    assert verified(used, issuer.token(groups=["ml"], lasts_s=1e6))
    with pytest.raises(Refused, match="answers 500") as caught:
        verified(verifier(issuer), issuer.token(groups=["ml"]))
    assert caught.value.code == "unavailable"


def unsigned(issuer: Issuer) -> str:
    return jwt.encode(jwt.decode(issuer.token(groups=["ml"]), options={"verify_signature": False}), "", algorithm="none")


def with_public_key_as_secret(issuer: Issuer) -> str:
    public = issuer.keys["one"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # PyJWT itself refuses to sign so: the token is put together by hand.
    import base64
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"one"}').rstrip(b"=")
    body = issuer.token(groups=["ml"]).split(".")[1].encode()
    mac = hmac.new(pem, head + b"." + body, hashlib.sha256).digest()
    return b".".join([head, body, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def with_other_body(issuer: Issuer) -> str:
    head, _, mac = issuer.token(groups=["ml"]).split(".")
    return ".".join([head, issuer.token(groups=["ml"], sub="eve").split(".")[1], mac])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda issuer: issuer.token(groups=["ml"], lasts_s=-60), "expired"),
        (lambda issuer: issuer.token(groups=["ml"], nbf=int(time.time()) + 600), "not valid yet"),
        (lambda issuer: issuer.token(groups=["ml"], exp="soon"), "no numbers|not valid"),
        (lambda issuer: issuer.token(groups=["ml"], exp=None), "exp"),
        (lambda issuer: issuer.token(groups=["ml"], sub=None), "sub"),
        (lambda issuer: issuer.token(groups=["ml"], aud="another"), "[Aa]udience"),
        (lambda issuer: issuer.token(groups=["ml"], aud=None), "aud"),
        (lambda issuer: issuer.token(groups=["ml"], iss="https://evil.example"), "[Ii]ssuer"),
        (lambda issuer: issuer.token(groups=["other"]), "none of its claims"),
        (lambda issuer: issuer.token(), "none of its claims"),
        (lambda issuer: issuer.token(groups={"ml": 1}), "none of its claims"),
        (
            lambda issuer: issuer.token(
                key=rsa.generate_private_key(public_exponent=65537, key_size=2048), groups=["ml"]
            ),
            "[Ss]ignature",
        ),
        (unsigned, "none"),
        (with_public_key_as_secret, "HS256"),
        (with_other_body, "[Ss]ignature"),
        (lambda issuer: issuer.token(algorithm="RS512", groups=["ml"]), "RS512"),
        (lambda issuer: "eyJ.x.y", "no JWT"),
        (lambda issuer: issuer.token(groups=["ml"], padding="x" * 20_000), "longer"),
    ],
)  # fmt: skip
def test_what_is_not_believed(issuer: Issuer, make: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        verified(verifier(issuer), make(issuer))


def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    assert verified(verifier(issuer), issuer.token(groups=["ml"], lasts_s=-5))
    with pytest.raises(Refused, match="expired"):
        verified(verifier(issuer, leeway_s=1.0), issuer.token(groups=["ml"], lasts_s=-5))


def test_a_believed_token_is_looked_at_again_when_it_ends(issuer: Issuer) -> None:
    clock = Clock()
    used = verifier(issuer, clock)
    token = issuer.token(groups=["ml"], lasts_s=60)
    verified(used, token)
    clock.ahead += 95
    with pytest.raises(Refused, match="expired"):
        verified(used, token)


def test_an_issuer_that_speaks_of_another_is_not_believed(issuer: Issuer) -> None:
    believed = Believed(issuer=issuer.url + "/", audience=AUDIENCE, rules=RULES)
    with pytest.raises(Refused, match="speaks of the issuer"):
        verified(OidcVerifier(believed), issuer.token(groups=["ml"], iss=issuer.url + "/"))


def test_the_apis_take_jwts(issuer: Issuer) -> None:
    async def scenario(house: House) -> None:
        token = issuer.token(groups=["ml"])
        assert (await house.ask(token, "GET", f"/api/v1/workflows/{HERE}")).status_code == 200
        assert (await house.ask(token, "GET", f"/api/v1/workflows/{THERE}")).status_code == 403
        about = (await house.ask(token, "GET", "/api/v1/userinfo")).json()
        assert (about["subject"], about["issuer"], about["groups"]) == ("ada", issuer.url, ["ml", f"operator@{HERE}"])
        forged = issuer.token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048), groups=["ml"])
        answer = await house.ask(forged, "GET", f"/api/v1/workflows/{HERE}")
        assert (answer.status_code, forged in answer.text) == (401, False)
        assert (await house.ask("own", "GET", f"/api/v1/workflows/{HERE}")).status_code == 200

    House(verifier=verifier(issuer)).play(scenario)


def test_while_the_issuer_is_down_the_answer_says_so(issuer: Issuer) -> None:
    issuer.broken = True

    async def scenario(house: House) -> None:
        answer = await house.ask(issuer.token(groups=["ml"]), "GET", "/api/v1/version")
        assert (answer.status_code, answer.json()["code"]) == (503, 14)
        assert (await house.ask("own", "GET", "/api/v1/version")).status_code == 200

    House(verifier=verifier(issuer)).play(scenario)


def test_the_gate_takes_a_jwt_of_nobody_for_no_token() -> None:
    found = asyncio.run(Gate(OWN).identify(b"Bearer eyJ.a.b"))
    assert not isinstance(found, Identity)
