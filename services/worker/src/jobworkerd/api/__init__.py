"""The API process: what the network sees, from the certificate to the request that the supervisor gets."""
