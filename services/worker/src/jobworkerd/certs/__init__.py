"""Creates, stores and describes the certificates of a server and its clients."""
