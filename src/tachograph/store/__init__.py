"""Reading: stores in folders, in buckets and on servers, the query language, runs, their histories and artifacts."""
