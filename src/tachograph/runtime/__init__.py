"""What there is once per interpreter or process. Nothing here knows of runs or stores.

process                     the identity of this process and of others
background, deferred, wake  the background thread, and jobs that a training does not wait for
forks                       what happens in a forked child, in which order
locks, whole_files          locks between processes; files that are there whole or not at all
plain_files                 files that are opened without waiting
import_hooks, entry_points  modules that are imported; plug-ins and sinks that are installed
stack_frames, notebooks     what runs: frames and their variables; a notebook's cells
backoff                     how long to wait before trying again
quiet                       computing without a warning of it
"""
