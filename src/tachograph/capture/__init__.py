"""What surrounds a training: machine, code, environment, console, load, arguments and seeds.

environment        facts on machine, interpreter, packages and variables; the slow ones come from ``probe``
git                commit and uncommitted changes
hardware, gpus     samples of the load
console            what the program prints
parsed_arguments   the parsed command line
seeds              the seeds that were set
figures            figures as files
"""
