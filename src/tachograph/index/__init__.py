"""What journals hold, as tables in SQLite or PostgreSQL. The tables can be deleted at any time: they are made again."""
