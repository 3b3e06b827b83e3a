"""The commands, one a file: each says what it takes, asks one thing of another module, and writes what came."""
