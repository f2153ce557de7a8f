"""Compiles the Triton kernels for each GPU, on a machine without one, and inspects the machine code."""
