"""What people ask: the query language, runs as they are read, histories, artifacts; of folders, buckets, servers."""
