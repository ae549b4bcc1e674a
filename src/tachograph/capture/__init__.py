"""What surrounds a training: machine, code, environment, console, load, arguments and seeds."""
