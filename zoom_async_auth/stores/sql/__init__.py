"""A store in a SQL database. `SQLStore` is what one uses; `metadata`, `tokens` and `ddl` are for migrations."""

from zoom_async_auth.extras import extra

with extra("sql"):
    from zoom_async_auth.stores.sql.store import SQLStore
    from zoom_async_auth.stores.sql.table import ddl, metadata, tokens

__all__ = ["SQLStore", "ddl", "metadata", "tokens"]
