"""The certificates of a server and its clients: making, keeping and describing them."""
