"""A server's runs in PostgreSQL."""
