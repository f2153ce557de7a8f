"""What the Triton kernels become: compiled for each GPU on a machine without one, and read back."""
