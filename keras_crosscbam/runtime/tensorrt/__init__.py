"""TensorRT engines as runtimes."""
