"""The dashboard. Only the `tui` command imports it, when it runs: Textual takes a quarter of a second."""
