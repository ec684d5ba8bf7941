"""A small authorization server on django-oauth-toolkit, with Zoom's paths and Zoom's manners.

python -m tests.servers.django_toolkit DATABASE REDIRECT_URI SECRET USER PASSWORD

Makes its database, one app for each grant and a person. Prints its URL, then serves until its input ends.
"""

import sys
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.apps import apps  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.management import call_command  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

APPS = {
    "robot": "client-credentials",
    "person": "authorization-code",
    "device": "urn:ietf:params:oauth:grant-type:device_code",
}
"""An app of this server has one grant; client ids and their grants."""

_INSTALLED = ("auth", "contenttypes", "sessions")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 256  # a herd without a manager is part of the show


def _configure(database: str, url: str) -> None:
    settings.configure(
        SECRET_KEY="of-a-test",
        ALLOWED_HOSTS=["127.0.0.1"],
        USE_TZ=True,
        ROOT_URLCONF="tests.servers.django_urls",
        LOGIN_URL="/login",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[*(f"django.contrib.{name}" for name in _INSTALLED), "oauth2_provider"],
        MIGRATION_MODULES=dict.fromkeys((*_INSTALLED, "oauth2_provider")),  # tables as they are, no history
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # others are slow, on purpose
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {
                    "timeout": 20,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
                },
            }
        },
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
            "SCOPES": {"meeting:read": "See your meetings", "user:read": "See your profile"},
            "PKCE_REQUIRED": True,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "OAUTH_DEVICE_VERIFICATION_URI": f"{url}/oauth/device",
        },
    )


def _populate(redirect_uri: str, secret: str, user: str, password: str) -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    apps.get_model("auth", "User").objects.create_user(username=user, password=password)
    for client_id, grant in APPS.items():
        apps.get_model("oauth2_provider", "Application").objects.create(
            name=client_id,
            client_id=client_id,
            client_secret=secret,
            client_type="confidential",
            authorization_grant_type=grant,
            redirect_uris=redirect_uri,
        )


def main(database: str, redirect_uri: str, secret: str, user: str, password: str) -> None:
    server = _Server(("127.0.0.1", 0), WSGIRequestHandler)
    url = f"http://127.0.0.1:{server.server_port}"
    _configure(database, url)
    application: Any = get_wsgi_application()  # untyped
    server.set_app(application)
    _populate(redirect_uri, secret, user, password)
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()  # whoever started this may end without a chance to say so


if __name__ == "__main__":
    main(*sys.argv[1:])
