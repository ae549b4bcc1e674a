"""What surrounds a training: its data, code, environment, hardware and files."""
