"""Everything that needs PyTorch: networks, losses, training pairs, checkpoints, ONNX export.

Nothing outside this package imports torch, so the demo and inference install without it.
"""
