"""What a data set looks like: its schema, statistics, digest and signature.

describe               makes a fingerprint of any data set: begin here
fingerprint            what is recorded: the structures
readers, dataframes    bring every kind of data set into a ``table``
digest, profile        hash a table; statistics of its columns
signature              what goes into a model and comes out of it
rows                   tables that users log, as JSON Lines
"""
