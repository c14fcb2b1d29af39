"""Runtime for TensorRT engines."""
