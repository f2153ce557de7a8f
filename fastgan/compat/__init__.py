"""The losses of other libraries, under their names, on fastgan's kernels.

One module a library: the same functions, order of arguments, scale and constant. Change the import, and
the numbers stay. ``docs/migration.md`` has them in one table.
"""

from fastgan.compat import lightning, mimicry, pytorch, studiogan, stylegan, tf_gan, torchgan

__all__ = ["lightning", "mimicry", "pytorch", "studiogan", "stylegan", "tf_gan", "torchgan"]
