"""Errors: one class per decision, no secret, fit to be copied, pickled and shown."""

import copy
import pickle

import pytest

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    StoreError,
    TokenUnavailableError,
    ZoomAuthError,
)

KINDS = [
    ConfigurationError,
    TokenUnavailableError,
    AuthorizationRequiredError,
    StoreError,
    ManagerClosedError,
    MisuseError,
]


def detailed(kind: type[ZoomAuthError]) -> ZoomAuthError:
    return kind(
        "something failed: do something",
        transient=not kind("").transient,
        retry_after=7.5,
        error="invalid_grant",
        reason="Invalid Token!",
        status=400,
        tracking_id="WEB_1",
        in_doubt=True,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_are_siblings(kind: type[ZoomAuthError]) -> None:
    """One `except` clause is one decision: none catches another by accident."""
    assert kind.__mro__[1] is ZoomAuthError


@pytest.mark.parametrize(("kind", "builtin"), [(ConfigurationError, ValueError), (MisuseError, RuntimeError)])
def test_what_only_a_programmer_can_mend_is_also_what_python_calls_it(
    kind: type[ZoomAuthError], builtin: type[Exception]
) -> None:
    """Who validates settings catches ValueError, and need not know this library."""
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    ("kind", "transient"),
    [
        pytest.param(ConfigurationError, False),
        pytest.param(TokenUnavailableError, True),
        pytest.param(AuthorizationRequiredError, False),
        pytest.param(StoreError, True),
        pytest.param(ManagerClosedError, False),
        pytest.param(MisuseError, False),
    ],
)
def test_an_error_says_whether_waiting_helps(kind: type[ZoomAuthError], *, transient: bool) -> None:
    """A retry loop needs one attribute, not a list of classes."""
    assert kind("failed").transient is transient
    assert kind("failed", transient=not transient).transient is not transient


def test_an_error_without_details_is_its_message() -> None:
    """Nothing is shown that is not known."""
    error = TokenUnavailableError("no answer")

    assert str(error) == "no answer"
    assert (error.retry_after, error.error, error.reason, error.status, error.tracking_id) == (None,) * 5
    assert not error.in_doubt


def test_an_error_with_details_is_one_line() -> None:
    """In an order that a log can be searched by; what is foreign is quoted (S42)."""
    error = TokenUnavailableError(
        "no answer", tracking_id="WEB_1", retry_after=1 / 3, reason="a\nb", error="slow_down", status=400
    )

    assert str(error) == (
        r"no answer [status=400, error='slow_down', reason='a\nb', retry_after=0.333, x-zm-trackingid='WEB_1']"
    )


def test_a_zero_is_a_detail() -> None:
    """Retry at once is not the same as not knowing when."""
    assert str(TokenUnavailableError("no answer", retry_after=0.0)) == "no answer [retry_after=0.0]"


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_has_the_content_and_no_history(kind: type[ZoomAuthError]) -> None:
    """A shared failure reaches each waiter as its own object: tracebacks do not pile up on one (F54)."""
    original = detailed(kind)
    with pytest.raises(kind) as raised:
        raise original from OSError("a cause")
    assert raised.value is original

    copied = original.copy()

    assert copied is not original
    assert type(copied) is kind
    assert (copied.args, vars(copied)) == (original.args, vars(original))
    assert (copied.__traceback__, copied.__cause__, copied.__context__) == (None, None, None)


def test_a_copy_may_differ_in_what_is_named() -> None:
    """And in nothing else."""
    original = detailed(TokenUnavailableError)

    changed = original.copy(status=503, in_doubt=False)

    assert vars(changed) == {**vars(original), "status": 503, "in_doubt": False}
    assert original.status == 400


class _OverloadedError(TokenUnavailableError):
    """What a transport of somebody else may raise."""

    def __init__(self, *, load: float) -> None:
        super().__init__(f"the gateway is loaded at {load:.0%}", retry_after=7.0)
        self.load = load


def test_an_error_with_a_constructor_of_its_own_can_be_copied_and_pickled() -> None:
    original = _OverloadedError(load=0.99)
    original.add_note("of somebody's own")

    for clone in (original.copy(), pickle.loads(pickle.dumps(original))):  # noqa: S301 -- our own bytes
        assert type(clone) is _OverloadedError
        assert (str(clone), clone.load, clone.retry_after) == (str(original), 0.99, 7.0)
        assert not hasattr(clone, "__notes__")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(kind: type[ZoomAuthError], protocol: int) -> None:
    """It comes back from a worker process with all that the parent decides by (S5)."""
    original = detailed(kind)

    restored = pickle.loads(pickle.dumps(original, protocol))  # noqa: S301 -- our own bytes

    assert type(restored) is kind
    assert (restored.args, vars(restored)) == (original.args, vars(original))
    assert str(restored) == str(original)


@pytest.mark.parametrize("kind", KINDS)
def test_the_copy_module_copies_an_error(kind: type[ZoomAuthError]) -> None:
    """Libraries that retry, or gather, do so."""
    original = detailed(kind)

    assert vars(copy.copy(original)) == vars(copy.deepcopy(original)) == vars(original)
