"""From a Model or a QModel back to ONNX files that any runtime can check."""
