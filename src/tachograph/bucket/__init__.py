"""Object stores: where what lies in them, credentials, kept files, and the mirror on this machine."""
