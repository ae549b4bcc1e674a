"""What there is once per interpreter or process: identity, locks, the background thread, forks, import hooks."""
