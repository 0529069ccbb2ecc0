"""What only training and export need: networks, losses, training pairs, checkpoints, ONNX export.

No other module of `retinex` imports torch, so the demo and inference install without it.
"""
