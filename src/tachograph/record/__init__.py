"""A run while it is written: its verbs, its start and end, which one counts here, ranks, device values, checkpoints."""
