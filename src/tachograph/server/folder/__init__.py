"""A server's runs in a folder."""
