"""The journal: an append-only record for each writer. The only package that knows the disk format.

    <root>/runs/<run id>/<writer>/<first seq>.jsonl    a segment: events, one line each, each appended with one write
    <root>/runs/<run id>/<writer>/<first seq>.jsonl.gz the same, once it was compressed: readers take either of them
    <root>/runs/<run id>/<writer>/<first seq>.sums     checksums of what was synced of it, block by block
    <root>/news                                        to which of the older runs something came

Appending is all that happens on a training thread. Once a second, on the background thread, what was appended is
forced to disk (``fsync``) and a line ``{"from":0,"to":8192,"crc32":"9ae1bc02"}`` is added to the sums. A segment is
sealed, that is never written again, when a later one exists or its writer is gone. Sealed ones may be compressed, which
changes nothing for readers: a segment goes by the path of its plain form, and sizes, offsets and checksums are those of
its content.

A write that fails (full disk, size limit, folder gone) keeps the lines in memory, within a bound, and tries again. It
goes on where it stopped, so that even a half-written line is completed, not torn.
"""

from tachograph.journal.compression import abandoned, compress, sealed
from tachograph.journal.reading import (
    BLOCK_BYTES,
    Block,
    Checksum,
    Damage,
    Unreadable,
    check_sums,
    has_ended,
    header,
    is_gone,
    last,
    newest,
    opened,
    read,
    read_block,
    read_writer,
    segment,
    segments,
    size,
    sizes,
    tails,
    writers,
)
from tachograph.journal.whole_writer import write_whole
from tachograph.journal.writing import Journal

__all__ = [
    "BLOCK_BYTES",
    "Block",
    "Checksum",
    "Damage",
    "Journal",
    "Unreadable",
    "abandoned",
    "check_sums",
    "compress",
    "has_ended",
    "header",
    "is_gone",
    "last",
    "newest",
    "opened",
    "read",
    "read_block",
    "read_writer",
    "sealed",
    "segment",
    "segments",
    "size",
    "sizes",
    "tails",
    "write_whole",
    "writers",
]
