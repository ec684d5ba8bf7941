"""What the package's root offers, and that it keeps to it."""

import importlib
import inspect
from importlib.metadata import entry_points, version

import pytest

import zoom_async_auth
from zoom_async_auth import TokenManager, errors
from zoom_async_auth.bearer import BearerSource
from zoom_async_auth.pool import PooledIdentity

NAMES = zoom_async_auth.__all__


def test_the_names_are_sorted_and_all_of_them_are_there() -> None:
    assert sorted(NAMES) == NAMES
    assert set(NAMES) <= set(dir(zoom_async_auth))
    for name in NAMES:
        assert getattr(zoom_async_auth, name).__name__ == name


def test_each_name_has_one_home() -> None:
    """What the root resolves on first use is what a checker sees."""
    homes = zoom_async_auth._HOMES
    assert sorted(name for names in homes.values() for name in names) == NAMES
    for home, names in homes.items():
        for name in names:
            assert getattr(importlib.import_module(home), name) is getattr(zoom_async_auth, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'zoom_async_auth' has no attribute 'Nothing'"):
        zoom_async_auth.Nothing  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert zoom_async_auth.__version__ == version("zoom_async_auth")


def test_errors_are_siblings_one_for_each_decision() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.ZoomAuthError)]
    siblings = {kind.__name__ for kind in kinds if errors.ZoomAuthError in kind.__bases__}
    assert siblings == {
        "AuthorizationRequiredError",
        "ConfigurationError",
        "ManagerClosedError",
        "MisuseError",
        "StoreError",
        "TokenUnavailableError",
    }
    assert {kind.__name__ for kind in kinds} == siblings | {"ZoomAuthError"}


def test_a_manager_is_a_bearer_source_and_its_names_are_fixed() -> None:
    source: BearerSource = TokenManager.__new__(TokenManager)  # checked by the type checkers as well
    assert callable(source.bearer)
    assert callable(source.invalidate)
    assert list(inspect.signature(TokenManager).parameters) == [
        "credentials",
        "store",
        "key",
        "policy",
        "base_url",
        "transport",
        "observers",
        "on_uncommitted",
        "clock",
        "random",
    ]
    verbs = {name for name in vars(TokenManager) if not name.startswith("_")}
    assert verbs == {
        "aclose",
        "authorize",
        "authorize_device",
        "bearer",
        "forget",
        "from_env",
        "headers",
        "health",
        "invalidate",
        "renew",
        "revoke",
        "session",
        "start",
        "token",
    }


def test_an_identity_of_a_pool_has_the_verbs_of_a_manager_and_the_pool_has_its_life() -> None:
    """A program moves from one manager to a pool of them by changing one line."""
    life = {"aclose", "from_env", "start"}
    verbs = {name: verb for name, verb in vars(TokenManager).items() if not name.startswith("_") and name not in life}
    pooled = {name: verb for name, verb in vars(PooledIdentity).items() if not name.startswith("_") and name != "key"}
    assert {name: inspect.signature(verb) for name, verb in pooled.items()} == {
        name: inspect.signature(verb) for name, verb in verbs.items()
    }


def test_every_public_thing_is_documented() -> None:
    for name, public in [(name, getattr(zoom_async_auth, name)) for name in NAMES] + [("manager", PooledIdentity)]:
        assert inspect.getdoc(public)
        for member, value in vars(public).items():
            if not member.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="zoom-async-auth")
    assert command.value == "zoom_async_auth.cli:main"
