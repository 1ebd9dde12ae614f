"""Trained generators for use without wgan: as ONNX, as a torch program, or as plain weights, with a model card."""
