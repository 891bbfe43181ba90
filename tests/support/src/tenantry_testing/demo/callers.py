"""The demo's callers of the account service: a key for a Tenant, and a user of it by REST."""

import time
from types import TracebackType
from typing import Any, Self

import httpx

from tenantry_cluster.errors import ClusterError
from tenantry_testing.demo.programs import Programs

USER = {"email": "ada@acme.example", "display_name": "Ada Lovelace"}
SECONDS_TO_ANSWER = 60.0
RETRIED = frozenset({404, 502, 503, 504})


class RestFailed(ClusterError):
    """The account service did not answer as it should."""


def create_key(programs: Programs, tenant: str, *, registry_url: str) -> str:
    """A new API key of `tenant`; `registry_url` reaches the registry's database from here."""
    printed = programs.tenantry("tenant", "create-key", tenant, "--postgres-url", registry_url)
    keys = [word for word in printed.split() if word.startswith("tk_")]
    if len(keys) != 1:
        raise RestFailed(f"tenantry tenant create-key printed {len(keys)} keys")
    return keys[0]


class AccountsCaller:
    """Calls the account service through the gateway with one key; a context manager, for its connections."""

    def __init__(
        self,
        gateway_url: str,
        api_key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        patience: float = SECONDS_TO_ANSWER,
    ) -> None:
        self._patience = patience
        self._client = httpx.Client(
            base_url=gateway_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=10.0,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def accepts_key(self) -> bool:
        """Whether the key is known; waits while gateway and service are on their way."""
        return self._settled("GET", "/v1/users", params={"limit": 1}).status_code == httpx.codes.OK

    def ensure_user(self, user: dict[str, str]) -> dict[str, Any]:
        """The user with that e-mail address, made if there is none. Raises RestFailed."""
        response = self._settled("POST", "/v1/users", json=user)
        if response.status_code == httpx.codes.CONFLICT:
            return self._find(user["email"])
        if response.status_code != httpx.codes.CREATED:
            raise RestFailed(f"POST /v1/users answered {response.status_code}: {response.text[:500]}")
        created: dict[str, Any] = response.json()
        return created

    def fetch(self, path: str) -> str:
        """What a GET of `path` answers. Raises RestFailed when it is no success."""
        response = self._settled("GET", path)
        if not response.is_success:
            raise RestFailed(f"GET {path} answered {response.status_code}: {response.text[:500]}")
        return response.text

    def _find(self, email: str) -> dict[str, Any]:
        cursor: str | None = None
        while True:
            page = self._client.get("/v1/users", params={"cursor": cursor} if cursor else {}).raise_for_status().json()
            found: list[dict[str, Any]] = [user for user in page["items"] if user["email"].lower() == email.lower()]
            cursor = page["next_cursor"]
            if found:
                return found[0]
            if cursor is None:
                raise RestFailed(f"a user {email} is said to exist, and is in no page of /v1/users")

    def _settled(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The first answer that is not the gateway's own, for a route or a pod that is new."""
        deadline = time.monotonic() + self._patience
        while True:
            response = self._attempt(method, path, **request)
            if response is not None and not _from_gateway(response):
                return response
            if time.monotonic() > deadline:
                said = "nothing" if response is None else f"{response.status_code}: {response.text[:200]}"
                raise RestFailed(f"{method} {path} answered {said} for {self._patience:.0f} s")
            time.sleep(0.2)

    def _attempt(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        try:
            return self._client.request(method, path, **request)
        except httpx.TransportError:
            return None


def _from_gateway(response: httpx.Response) -> bool:
    """The services answer every error as problem+json, the gateway none."""
    problem = response.headers.get("content-type", "").startswith("application/problem+json")
    return response.status_code in RETRIED and not problem
