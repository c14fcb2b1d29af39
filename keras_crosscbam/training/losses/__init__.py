"""Loss functions for segmentation, computed over the labeled pixels."""
