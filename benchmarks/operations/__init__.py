"""Each operation at many sizes, in fastgan, PyTorch and JAX.

``table.py`` lists the cases and ``contenders.py`` the contenders. Each contender runs forward, backward and
both on the same inputs. Its results are checked against the reference in float64 before it is timed.
"""
