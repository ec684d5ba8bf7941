"""A Zoom OAuth server for this host: strict where Zoom is, with Zoom's words, without an account at Zoom."""

from zoom_async_auth.sandbox.server import Sandbox
from zoom_async_auth.sandbox.zoom import Zoom

__all__ = ["Sandbox", "Zoom"]
