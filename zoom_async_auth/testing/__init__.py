"""What a test of a program with tokens needs: time that leaps, and clocks to turn by hand."""

from zoom_async_auth.testing.virtual import ManualClock, VirtualTimeLoop

__all__ = ["ManualClock", "VirtualTimeLoop"]
