"""The API process: serves gRPC to clients, and sends their requests to the supervisor."""
