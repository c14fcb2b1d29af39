"""The smallest Cross-CBAM: for tests in which any network of the package serves."""

SMALL = {"alpha": 0.125, "use_se_aspp": False, "fusion": None}
