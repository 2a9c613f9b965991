"""Training: from a folder of golden images to a run folder. Needs the extra `train`."""
