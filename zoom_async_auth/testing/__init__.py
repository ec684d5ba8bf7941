"""What a test of a program with tokens needs: time that leaps, a clock to turn by hand, a Zoom without sockets."""

from zoom_async_auth.testing.shuffled import ShuffledLoop
from zoom_async_auth.testing.transport import MemoryTransport
from zoom_async_auth.testing.virtual import ManualClock, VirtualTimeLoop

__all__ = ["ManualClock", "MemoryTransport", "ShuffledLoop", "VirtualTimeLoop"]
