"""What the commands draw: tables, sections, progress."""
