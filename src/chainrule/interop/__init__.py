"""Floor 8: models in the formats of other libraries. `onnx` is one of them."""
