"""From a run folder to a model package: Keras to ONNX, folded, compared and written. Needs the extra `train`."""
