"""Losses of segmentation over the labeled pixels."""
