"""INT8 files: calibration, the layers that stay in float, and the accuracy check."""
