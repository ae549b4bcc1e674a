"""The server's addresses: what comes in over HTTP, and what is answered."""
