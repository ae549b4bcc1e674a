"""The server: it receives what sinks send, keeps it, and answers questions about it, by HTTP.

    api/        HTTP: the routes (app), who may do what and how often (access), receiving events and files (receiving),
                large files in parts (uploads), questions (asking), the live stream of a run (live), removal (upkeep),
                the description of all that (openapi, from the table in operations)
    storage     the interface between the API and what keeps the runs
    folder/     runs kept in a store's folder
    postgres/   runs kept in PostgreSQL
    blobs       files, in a folder or a bucket; ``drafts``: files that are being received
    tokens      what a client shows to be let in
    listen      the socket, and the process that serves

A server that keeps its runs in a folder keeps them as every store does (see :mod:`tachograph.journal`): all commands
read them there, also while the server runs, and several servers may share one store.

What is defended, and against whom
----------------------------------
Against somebody on the network without a token: nothing is read or written without one, but for the description of the
API. Tokens can't be guessed, and how long a wrong one takes to be refused tells nothing of the good ones; who tries
many is slowed down, which keeps out nobody with a good one, not from behind the same proxy either. The exception is a
server that listens on this machine alone and has never been given a token: there everybody on the machine may do
everything, which on a machine with several users is seldom what is wanted. Web pages in a browser on that machine may
not: a request must name this machine as its host (so a name that was made to point here doesn't help), what changes
something has a media type or a method that browsers don't send for other pages, and no answer allows another page to
read it. Behind a proxy make a token: requests that say that they were passed on are refused without one, but not every
proxy says so.

Against a holder of a token that should do less: the roles are read, write (which includes read) and admin (which
includes write). A revoked token fails with the next request, for a live stream within a second, for a file that is
being sent before it is kept. Nobody can change or delete what is there, by no role: that needs the machine itself.

Not against another writer: those who may write trust each other. Any of them can add events to any run, its end too,
and under any writer's id; what has taken a number is what counts, so a later event with that number is left out as one
that is held already. Events that say that they are of another run or writer than the address are refused, which is
against mistakes. Nor against another reader: who may read may read all runs and files, and can take all live streams.
Teams that must be kept apart need servers of their own.

Against what is sent: names of runs, writers and digests have a narrow alphabet, so that none of them leads out of the
store. Nothing that is received is unpickled, imported or executed; events are decoded into plain values, files are
bytes. A file is kept only under the digest that it has, and never replaces another. What was sent of one so far can be
added to with the same token alone, by one request at a time; how many such there may be, and for how long, is bounded.
Bodies are limited as they come and as they unpack, events in their length and depth; a batch, a stream, a rate have
bounds (see :class:`tachograph.server.api.limits.Limits`). Files are handed out as attachments that no browser shows.

Against those who are slow, be it in sending or in reading: each costs a buffer and delays nobody else.

Not defended: a network that others can read (use TLS, by ``--certfile`` or a proxy), who can read or write the folder
itself, a disk that is filled, or a processor that is kept busy, by those who may write (the answer is then 507, and
senders wait), floods of connections that send nothing (as many as the system allows are kept open; a proxy has means
against them; rates are counted for each process of a server by itself), clocks (what time an event says is its
sender's word), and what models can do to those who load them, which is a question for the one who loads.
"""
