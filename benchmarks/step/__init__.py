"""The training step of an MLP GAN, in fastgan, PyTorch and JAX.

All contenders start from the same weights. ``step`` takes real samples and latent vectors and updates the
weights, so that contenders can be compared. ``run`` is the function that is timed: ``steps_a_run`` steps that
draw their own samples.
"""
