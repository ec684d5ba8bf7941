"""A Zoom OAuth server for this host: strict where Zoom is, with Zoom's words, without an account at Zoom."""

from zoom_async_auth.sandbox.server import Sandbox

__all__ = ["Sandbox"]
