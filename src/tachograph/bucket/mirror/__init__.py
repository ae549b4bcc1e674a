"""A bucket's store, mirrored in a folder on this machine."""

from tachograph.bucket.mirror.mirror import Mirror as Mirror
