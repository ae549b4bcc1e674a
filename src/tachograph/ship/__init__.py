"""The shipper: from the journals to the sinks, whatever happens on the way.

A sink has a position in each journal, not a queue: what it does not hold is read from the journal and sent, now or next
month. So being offline, a crash and a late ``tachograph sync`` are the same case. An event's identity is (run, writer,
``seq``): sending it twice does no harm, and several senders need no lock between them.

While a run is recorded, the process that opened it sends what it and its child processes write, on threads of its own.

    shipper     which senders this process has, one for each store and sink
    sender      the thread that sends to one sink
    delivery    one run on its way to one sink
    cursor      reading a journal from a position on
    positions   how far each run got, in files
    detached    sending by a process of its own, after the training has ended
"""
