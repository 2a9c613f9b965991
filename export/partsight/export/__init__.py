"""Export: from a run folder to a model package. Needs the extra `train`."""
