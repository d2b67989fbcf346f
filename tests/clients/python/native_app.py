"""A native application: no secret, PKCE (RFC 7636), and a listener on a loopback port that the system picks gets the
code (RFC 8252 section 7.3). Authlib gets, keeps and refreshes the user's tokens; each is used at the gateway."""

import os
import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import parse_http_list, parse_keqv_list

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP, on loopback

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6749.errors import MismatchingStateException

from person import sign_in
from script import REQUIRED, expect, options, report

DEADLINE_S = 10


class Loopback(HTTPServer):
    """The application's end of the redirect: takes one request, on any free port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}/callback"
        self.received = None
        self.thread = threading.Thread(target=self.handle_request, daemon=True)
        self.thread.start()

    def answer(self) -> str:
        """What the browser was sent back with."""
        self.thread.join(DEADLINE_S)
        self.server_close()
        return self.received


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.received = f"http://{self.headers['Host']}{self.path}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"You can close this window.")

    def log_message(self, *_: object) -> None:
        pass


class NativeApp:
    def __init__(self, given) -> None:
        self.given = given
        self.metadata = requests.get(f"{given.issuer}/.well-known/openid-configuration").json()
        self.renewed = []

    def start(self, scope: str, **more: str) -> None:
        """Begins a login: `address` is for the user's browser."""
        self.loopback, self.verifier = Loopback(), secrets.token_urlsafe(48)
        self.user = OAuth2Session(
            self.given.client_id, scope=scope, token_endpoint_auth_method="none",
            token_endpoint=self.metadata["token_endpoint"], redirect_uri=self.loopback.redirect_uri,
            code_challenge_method="S256", update_token=lambda token, **_: self.renewed.append(token),
        )
        if self.given.resource:
            more["resource"] = self.given.resource
        self.address, self.state = self.user.create_authorization_url(
            self.metadata["authorization_endpoint"], code_verifier=self.verifier, **more,
        )

    def browse(self) -> str:
        """The user signs in, and the browser goes where it is sent: to the listener."""
        expect("the browser at the listener", requests.get(sign_in(
            self.address, self.loopback.redirect_uri)).status_code, 200)
        return self.loopback.answer()

    def finish(self, returned: str, verifier: str | None = None) -> None:
        self.user.fetch_token(
            authorization_response=returned, code_verifier=verifier or self.verifier, state=self.state,
        )

    def call(self, method: str, path: str) -> tuple[int, dict]:
        """The status, and what the challenge of a refusal says."""
        response = self.user.request(method, self.given.gateway + path)
        scheme, _, parameters = response.headers.get("WWW-Authenticate", "").partition(" ")
        expect("the scheme of the challenge", scheme, "Bearer" if response.status_code in (401, 403) else "")
        self.last = response
        return response.status_code, parse_keqv_list(parse_http_list(parameters))


def refused(error: str, call) -> None:
    try:
        call()
    except OAuthError as raised:
        expect("the server's refusal", raised.error, error)
    else:
        raise AssertionError(f"not refused with {error}")


def main() -> dict:
    given = options(
        __doc__, gateway=REQUIRED, issuer=REQUIRED, client_id="native", scope="orders:read", resource="",
        other_scope="orders:write", path="/orders/1", foreign_path="/foreign/1",
    )
    expect("without a token", requests.get(given.gateway + given.path).status_code, 401)
    app, ports = NativeApp(given), []

    app.start(given.scope)
    elsewhere = app.address.replace("%2Fcallback", "%2Felsewhere")
    expect("another path of the same loopback", requests.get(elsewhere).status_code, 400)
    without_pkce = "&".join(part for part in app.address.split("&") if "code_challenge" not in part)
    answered = requests.get(without_pkce, allow_redirects=False).headers["Location"]
    expect("without PKCE", "error=invalid_request" in answered and "code=" not in answered, True)
    returned = app.browse()
    ports.append(app.loopback.server_port)
    refused("invalid_grant", lambda: app.finish(returned, verifier=secrets.token_urlsafe(48)))  # who took the code
    try:
        app.finish(returned.replace("state=", "state=x"))
    except MismatchingStateException:
        pass
    else:
        raise AssertionError("a callback with another state was taken")

    # Read alone was asked for: writing is refused, and the challenge says which scope to ask for as well.
    app.start(f"openid {given.scope}")
    app.finish(app.browse())
    ports.append(app.loopback.server_port)
    granted = app.user.token["scope"]
    expect("reading", app.call("GET", given.path)[0], 200)
    expect("another audience", app.call("GET", given.foreign_path)[1].get("error"), "invalid_token")
    status, challenge = app.call("POST", given.path)
    expect("writing", (status, challenge.get("error")), (403, "insufficient_scope"))
    expect("what is missing", challenge["scope"], given.other_scope)

    app.start(f"{granted} {challenge['scope']}")
    app.finish(app.browse())
    ports.append(app.loopback.server_port)
    expect("writing with the scope", app.call("POST", given.path)[0], 200)

    before = app.user.token
    app.user.token = {**before, "expires_at": 1}
    expect("after a refresh by itself", (app.call("GET", given.path)[0], len(app.renewed)), (200, 1))
    after = app.user.token
    expect("another access token", after["access_token"] != before["access_token"], True)
    expect("refresh tokens rotate", after["refresh_token"] != before["refresh_token"], True)
    expect("writing after the refresh", app.call("POST", given.path)[0], 200)
    seen = app.last.json()
    # RFC 9700 section 4.14.2: the one of before comes again, so both end.
    for token in (before["refresh_token"], after["refresh_token"]):
        refused("invalid_grant", lambda: app.user.refresh_token(refresh_token=token))
    if "." in after["access_token"]:
        expect("a JWT lives to its end", app.call("GET", given.path)[0], 200)
    return {
        "granted_scope": granted, "later_scope": after.get("scope"), "ports": ports, "upstream_saw": seen,
    }


if __name__ == "__main__":
    report("authlib native application", main)
