"""How a model is made: weights, features, head, quantization, evaluation and the bundle that comes of it."""
