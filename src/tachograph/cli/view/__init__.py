"""How the commands show things on a terminal: tables, curves, the sections of a run, progress."""
