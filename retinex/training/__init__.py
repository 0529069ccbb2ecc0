"""Everything that needs PyTorch: networks, losses, training pairs, checkpoints, ONNX export.

No other module of `retinex` imports torch, so the demo and inference install without it.
"""
