"""`zoom-async-auth doctor`: looks for what is wrong, and says what to do. It shows no secret.

It changes nothing, but that a store may make its table.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from zoom_async_auth.cli import probe as probes
from zoom_async_auth.cli.aside import aside
from zoom_async_auth.cli.asking import ask
from zoom_async_auth.cli.findings import Finding, fail, ok, warn
from zoom_async_auth.cli.keychain import Keychain, NoKeyring, look_into_keyring
from zoom_async_auth.cli.place import KEYS, URL, Address, address_of, keys_of
from zoom_async_auth.cli.reach import reach
from zoom_async_auth.cli.terminal import TROUBLE, progress, tell, tell_json
from zoom_async_auth.cli.who import LOG_IN, Person, base_url_of, named_person, names_person
from zoom_async_auth.errors import ConfigurationError, ZoomAuthError
from zoom_async_auth.identity import credentials_from
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer
from zoom_async_auth.stores.urls import store_at

_PATIENCE = 60.0
"""Seconds for the way to Zoom: name servers that do not answer take long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is looked at. Each of them may be why it cannot be looked at.

    Attributes:
        whose: Whose token it is about.
        base_url: Which Zoom it is.
        address: Which store.
        is_person: Whether it is about a person, whose log-in the store keeps.
    """

    whose: Person | Credentials | ConfigurationError
    base_url: str | ConfigurationError
    address: Address | ConfigurationError
    is_person: bool

    def trouble(self, what: str, told: str, remedy: str) -> Finding:
        """Return what is wrong with where log-ins are kept; an app by itself can do without."""
        return (fail if self.is_person else warn)(what, told, remedy)


def run(*, probe: bool, as_json: bool, **whose: Any) -> int:  # noqa: ANN401 -- of `named_person`
    """Look at everything; with `probe`, at Zoom itself."""
    if probe:
        return probes.run(named_person(**whose), as_json=as_json)
    patient = _patient(**whose)
    findings = asyncio.run(_examine(patient, quiet=as_json))
    if as_json:
        tell_json([finding.fields() for finding in findings])
    return TROUBLE if any(finding.state == "fail" for finding in findings) else 0


def _patient(*, store: str | None, **whose: Any) -> Patient:  # noqa: ANN401
    whom: Person | Credentials | ConfigurationError
    address: Address | ConfigurationError
    base_url: str | ConfigurationError
    try:
        address = address_of(store)
    except ConfigurationError as error:
        address = error.copy()
    try:
        base_url = base_url_of(os.environ)
    except ConfigurationError as error:
        base_url = error.copy()
    try:
        whom = named_person(store=store, **whose) or credentials_from(os.environ)
    except ConfigurationError as error:
        whom = error.copy()
    return Patient(whose=whom, base_url=base_url, address=address, is_person=names_person(store=store, **whose))


async def _examine(patient: Patient, *, quiet: bool) -> list[Finding]:
    findings: list[Finding] = []
    async for finding in _findings(patient, quiet=quiet):
        findings.append(finding)
        if not quiet:
            tell(finding.line())
    return findings


async def _findings(patient: Patient, *, quiet: bool) -> AsyncIterator[Finding]:
    told_below = {str(error) for error in (patient.base_url, patient.address) if isinstance(error, ConfigurationError)}
    if not isinstance(patient.whose, ConfigurationError) or str(patient.whose) not in told_below:
        yield _credentials(patient.whose)
    reached = False
    if isinstance(patient.base_url, ConfigurationError):
        yield fail("base URL", str(patient.base_url), "correct ZOOM_BASE_URL, or unset it for Zoom itself")
    else:
        with progress(f"going to {patient.base_url}", quiet=quiet):
            steps = await _reached(patient.base_url)
        for step in steps:
            yield step
        reached = not any(step.state == "fail" and step.what != "clock" for step in steps)
    app = patient.whose.app if isinstance(patient.whose, Person) else patient.whose
    if reached and not isinstance(app, ConfigurationError) and isinstance(patient.base_url, str):
        with progress("asking Zoom", quiet=quiet):
            answer = await ask(app, patient.base_url)
        yield answer
    with progress("looking at the store", quiet=quiet):
        kept = await _store(patient)
    for fact in kept:
        yield fact
    keyring = await _keyring(patient, os.environ, quiet=quiet)
    yield keyring
    if isinstance(patient.whose, Person) and not any(found.state == "fail" for found in (*kept, keyring)):
        yield await _login(patient.whose, quiet=quiet)


def _credentials(whose: Person | Credentials | ConfigurationError) -> Finding:
    match whose:
        case ConfigurationError():
            return fail(
                "credentials", str(whose), "correct that; a public client, which has no secret, needs --as-user"
            )
        case Person():
            kind = "a public client" if whose.app.client_secret is None else "a client with a secret"
            return ok("credentials", f"of an app that people allow, {kind}")
        case ServerToServer():
            return ok("credentials", "of a server-to-server app")
        case ClientCredentials():
            return ok("credentials", "of an app that acts in its own name, for chatbots: ZOOM_ACCOUNT_ID is not set")
        case _:
            return ok("credentials", "of an app that people allow")


async def _reached(base_url: str) -> list[Finding]:
    try:
        return await aside(partial(reach, base_url), within=_PATIENCE)
    except TimeoutError:
        return [fail("network", f"no way to {base_url} within {_PATIENCE:g} s", "check the network and its DNS")]


async def _store(patient: Patient) -> list[Finding]:
    address = patient.address
    if isinstance(address, ConfigurationError):
        return [patient.trouble("store", str(address), "log-ins cannot be kept")]
    if address.obstacle is not None:
        return [fail("store", address.obstacle, f"let yourself write there, or name another store: {URL} or --store")]
    if address.missing:
        told = f"there is none yet: {LOG_IN} makes {address.shown()}"
        return [ok("store", told) if address.own else warn("store", told, "or the program that uses it does")]
    try:
        store: Any = store_at(address.url)
        async with store:
            facts = await store.check()
    except ZoomAuthError as error:
        return [fail("store", str(error), "correct what it says")]
    return [
        ok("store", f"{fact.what}: {fact.told}")
        if fact.ok
        else fail("store", f"not so: {fact.what} ({fact.told})", "correct that, or name another store")
        for fact in facts
    ]


async def _login(person: Person, *, quiet: bool) -> Finding:
    if person.address.missing:
        return warn("log-in", f"nobody has logged in as {person.key!r}", LOG_IN)
    try:
        place = await person.place(quiet=quiet)
        async with place.store:
            reading = await place.store.peek(person.store_key)
    except ZoomAuthError as error:
        return fail("log-in", str(error), f"or zoom-async-auth logout, then {LOG_IN}")
    record = reading.record
    if record is None or record.token is None:
        return warn("log-in", f"nobody has logged in as {person.key!r}", LOG_IN)
    if record.cause is not None:
        return fail("log-in", f"Zoom refused to renew it ({record.cause})", LOG_IN)
    left = max(0.0, record.expires_at - reading.now)
    return ok("log-in", f"{person.key!r}, its token has {left:.0f} s left, {place.protection()}")


async def _keyring(patient: Patient, environ: Mapping[str, str], *, quiet: bool) -> Finding:
    keys = keys_of(environ)
    if isinstance(keys, ConfigurationError):
        return fail("keyring", str(keys), "until then no log-in is kept or opened")
    if keys:
        return ok("keyring", f"not needed: {KEYS} is set")
    if isinstance(patient.address, Address) and not patient.address.own:
        return ok("keyring", f"not used: a store that is named is sealed with {KEYS}, or not at all")
    found = await look_into_keyring(quiet=quiet)
    match found:
        case Keychain():
            return ok("keyring", f"{found.name}, {'without' if found.key is None else 'with'} a key of ours")
        case NoKeyring():
            return warn("keyring", found.why, f"log-ins are not sealed, unless {KEYS} is set")
        case ConfigurationError():
            return patient.trouble("keyring", str(found), "log-ins cannot be opened without it")
