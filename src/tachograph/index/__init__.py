"""Journals as tables in SQLite or PostgreSQL. They can be deleted at any time, and are made again."""
