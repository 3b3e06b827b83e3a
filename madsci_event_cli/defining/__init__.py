"""A new definition of an event manager: a `draft` from flags, answers (`questions`) or MADSci's settings, as a file."""
