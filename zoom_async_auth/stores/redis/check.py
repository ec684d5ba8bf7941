"""What can be told about a Redis server that is to keep tokens."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from zoom_async_auth.stores.facts import ANSWERS, Fact

_OLDEST: Final = 7


async def facts_of(client: Redis, *, rotating: bool) -> tuple[Fact, ...]:
    """Return what the server tells about itself.

    Args:
        client: Of the server.
        rotating: Whether it is to be the only home of people's refresh tokens.
    """
    info: Mapping[str, Any] = await client.info()
    return (_version(info), _durable(info, await _fsync(client), rotating=rotating), _memory(info), _role(info))


async def _fsync(client: Redis) -> str:
    with suppress(ResponseError):  # hosted servers do not show their settings
        settings = await client.config_get("appendfsync")
        return str(settings["appendfsync"])
    return "unknown"


def _version(info: Mapping[str, Any]) -> Fact:
    name, version = "Redis", str(info["redis_version"])
    if "valkey_version" in info:  # whose redis_version is the one that it is compatible with
        name, version = "Valkey", str(info["valkey_version"])
    return Fact(what=ANSWERS, ok=int(version.partition(".")[0]) >= _OLDEST, told=f"{name} {version}")


def _durable(info: Mapping[str, Any], fsync: str, *, rotating: bool) -> Fact:
    appends = bool(info["aof_enabled"])
    told = f"appendonly {'yes' if appends else 'no'}, appendfsync {fsync}"
    if not rotating:
        return Fact(what="is durable", ok=True, told=f"{told}: enough for tokens that can be had again")
    return Fact(
        what="is durable",
        ok=appends and fsync == "always",
        told=f"{told} (for refresh tokens yes and always); a failover may lose them all the same",
    )


def _memory(info: Mapping[str, Any]) -> Fact:
    policy, limit = str(info["maxmemory_policy"]), int(info["maxmemory"])
    return Fact(
        what="evicts nothing",
        ok=not policy.startswith("allkeys-"),
        told=f"maxmemory {limit}, maxmemory-policy {policy} (noeviction or volatile-...)",
    )


def _role(info: Mapping[str, Any]) -> Fact:
    return Fact(what="is the primary", ok=info["role"] == "master", told=f"role {info['role']}")
