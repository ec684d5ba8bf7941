"""Where people use a token: one adapter for each HTTP client, framework and monitoring system."""
