"""The dashboard's screens: the one that is left open, and those that ask or explain."""
