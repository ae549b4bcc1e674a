"""The shipper: from the journals to the sinks, whatever happens on the way.

A sink has a position in each journal, not a queue: what it does not hold is read there and sent, now or next month. So
being offline, a crash and a late ``tachograph sync`` are one and the same. An event's identity is (run, writer,
``seq``), so that sending it twice does no harm, and several senders need no lock between them.

While a run is recorded, the process that opened it sends what it and its child processes write. Nothing of that happens
on a thread of the user's.
"""
