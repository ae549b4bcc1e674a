"""HTTP to a tachograph server."""
