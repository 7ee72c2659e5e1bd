"""gRPC in front of the engine: the only package besides `animoe.client` that knows protobuf."""
