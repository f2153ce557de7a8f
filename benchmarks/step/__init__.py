"""The training step of an MLP GAN, as fastgan and as others do it.

Each contender is made of the same weights. Its ``step`` takes real samples and latent vectors and moves the
weights, so that all can be checked against each other; its ``run`` draws them itself and is what is timed.
"""
