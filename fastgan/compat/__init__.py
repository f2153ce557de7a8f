"""The losses of other libraries, under their names, with fastgan's kernels.

One module per library, with the same functions, argument order, scale and constant: after a change of the
import the results are the same. ``docs/migration.md`` lists them in one table.
"""

from fastgan.compat import lightning, mimicry, pytorch, studiogan, stylegan, tf_gan, torchgan

__all__ = ["lightning", "mimicry", "pytorch", "studiogan", "stylegan", "tf_gan", "torchgan"]
