"""Networks that other codes have trained, as models with our operator: their checkpoints
(`convert_checkpoint`), and layers written as a step `f(z, x)` (`monotone_layer.extract_layer`)."""
