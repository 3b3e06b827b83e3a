"""The routes: each reads a request, asks one part below, and writes its answer."""
