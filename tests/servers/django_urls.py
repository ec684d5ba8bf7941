"""Where the views of django-oauth-toolkit are found: Zoom's paths, and the pages that a person sees."""

from django.contrib.auth.views import LoginView  # type: ignore[import-untyped]
from django.urls import include, path  # type: ignore[import-untyped]
from oauth2_provider import views  # type: ignore[import-untyped]

_OAUTH = [
    path("authorize", views.AuthorizationView.as_view(), name="authorize"),
    path("token", views.TokenView.as_view(), name="token"),
    path("revoke", views.RevokeTokenView.as_view(), name="revoke-token"),
    path("introspect", views.IntrospectTokenView.as_view(), name="introspect"),
    path("devicecode", views.DeviceAuthorizationView.as_view(), name="device-authorization"),
    path("device", views.DeviceUserCodeView.as_view(), name="device"),
    path("device/<slug:client_id>/<slug:user_code>", views.DeviceConfirmView.as_view(), name="device-confirm"),
    path(
        "device/<slug:client_id>/<slug:user_code>/is", views.DeviceGrantStatusView.as_view(), name="device-grant-status"
    ),
]

urlpatterns = [
    path("oauth/", include((_OAUTH, "oauth2_provider"))),
    path("login", LoginView.as_view(template_name="oauth2_provider/device/user_code.html")),  # a form is a form
]
