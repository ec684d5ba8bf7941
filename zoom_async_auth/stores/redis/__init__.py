"""A store on a Redis or Valkey server: `RedisStore`."""

from zoom_async_auth.extras import extra

with extra("redis"):
    from zoom_async_auth.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
