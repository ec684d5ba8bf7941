"""Who is measured, and what each cannot do."""

import importlib
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from benchmarks.peers.peer import Grant, Peer

NAIVE = "a lock of one's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of those who are compared.

    Attributes:
        name: What it is called in the tables.
        adapter: Its module and class.
        imports: What a program that uses it imports.
        packages: What is installed for it, as pip takes it; the first is the one that is measured.
        grant: How it gets an app's own token.
        refreshes: Whether it can get a person's next token with a refresh token.
        blocks: Whether it is synchronous, and an event loop stands still while it fetches.
        remote: Whether it is no Python, and a pipe lies between it and the worker.
    """

    name: str
    adapter: str
    imports: str
    packages: tuple[str, ...]
    grant: Grant = "client_credentials"
    refreshes: bool = True
    blocks: bool = False
    remote: bool = False

    @property
    def module(self) -> str:
        """The module of its adapter."""
        return f"benchmarks.peers.{self.adapter.partition(':')[0]}"

    @property
    def installed(self) -> bool:
        """Whether its packages are there."""
        if self.remote:
            return "RIVET" in os.environ
        return all(map(_version, self.packages))

    @property
    def note(self) -> str:
        """What a reader of its figures has to know."""
        return "synchronous" if self.blocks else "in Node: only what can be counted" if self.remote else ""

    @property
    def title(self) -> str:
        """Its name, with the version if it has one of its own."""
        if not self.packages or self.name == NAIVE:
            return self.name
        return f"{self.name} {_version(self.packages[0])}"

    def new(self) -> Peer:
        """Return one that is not opened yet."""
        peer: Peer = getattr(importlib.import_module(self.module), self.adapter.partition(":")[2])()
        return peer


def _version(package: str) -> str | None:
    """Return what is installed of it, if anything is."""
    try:
        return version(Requirement(package).name)
    except PackageNotFoundError:
        return None


CANDIDATES = (
    Candidate(
        name="zoom_async_auth",
        adapter="ours:Ours",
        imports="from zoom_async_auth import TokenManager",
        packages=("zoom_async_auth",),
    ),
    Candidate(name=NAIVE, adapter="naive:Naive", imports="import aiohttp", packages=("aiohttp",)),
    Candidate(
        name="authlib",
        adapter="with_authlib:Authlib",
        imports="from authlib.integrations.httpx_client import AsyncOAuth2Client",
        packages=("authlib", "httpx2"),
    ),
    Candidate(
        name="aiohttp-oauth2-client",
        adapter="with_aiohttp_oauth2_client:AiohttpOAuth2Client",
        imports="from aiohttp_oauth2_client.grant.client_credentials import ClientCredentialsGrant",
        packages=("aiohttp-oauth2-client",),
    ),
    Candidate(
        name="aioamocrm",
        adapter="with_aioamocrm:Aioamocrm",
        imports="from aioamocrm import OAuth2",
        packages=("aioamocrm",),
        grant="refresh_token",
    ),
    Candidate(
        name="gcloud-aio-auth",
        adapter="with_gcloud_aio:GcloudAio",
        imports="from gcloud.aio.auth.token import BaseToken",
        packages=("gcloud-aio-auth",),
    ),
    Candidate(
        name="aiobotocore",
        adapter="with_aiobotocore:Aiobotocore",
        imports="from aiobotocore.credentials import AioDeferredRefreshableCredentials",
        packages=("aiobotocore",),
    ),
    Candidate(
        name="azure-core policy",
        adapter="with_azure_core:AzureCore",
        imports="from azure.identity.aio import get_bearer_token_provider",
        packages=("azure-core", "azure-identity", "aiohttp"),
    ),
    Candidate(
        name="azure-identity",
        adapter="with_azure_identity:AzureIdentity",
        imports="from azure.identity.aio import ClientSecretCredential",
        packages=("azure-identity", "aiohttp"),
        refreshes=False,
    ),
    Candidate(
        name="google-auth aio",
        adapter="with_google_auth:GoogleAuthAio",
        imports="from google.auth.aio.transport.sessions import AsyncAuthorizedSession",
        packages=("google-auth[aiohttp,requests]",),
    ),
    Candidate(
        name="google-auth",
        adapter="with_google_auth:GoogleAuth",
        imports="from google.oauth2.credentials import Credentials; import google.auth.transport.requests",
        packages=("google-auth[requests]",),
        blocks=True,
    ),
    Candidate(
        name="msal",
        adapter="with_msal:Msal",
        imports="from msal import ConfidentialClientApplication",
        packages=("msal",),
        refreshes=False,
        blocks=True,
    ),
    Candidate(
        name="httpx-auth",
        adapter="with_httpx_auth:HttpxAuth",
        imports="from httpx_auth import OAuth2ClientCredentials",
        packages=("httpx-auth",),
        refreshes=False,
        blocks=True,
    ),
    Candidate(
        name="zoom-python-client",
        adapter="with_zoom_python_client:ZoomPythonClient",
        imports="from zoom_python_client.zoom_api_client import ZoomApiClient",
        packages=("zoom-python-client",),
        grant="account_credentials",
        refreshes=False,
        blocks=True,
    ),
    Candidate(
        name="@zoom/rivet (Node)",
        adapter="with_rivet:Rivet",
        imports="",
        packages=(),
        grant="account_credentials",
        remote=True,
    ),
)

CONSTANT = Candidate(name="floor: a constant", adapter="floor:Constant", imports="", packages=())
COMPARE = Candidate(name="floor: clock, compare", adapter="floor:Compare", imports="", packages=())
SLEEP = Candidate(name="floor: a sleep for each", adapter="floor:Sleep", imports="", packages=())
FLOORS = (CONSTANT, COMPARE, SLEEP)
