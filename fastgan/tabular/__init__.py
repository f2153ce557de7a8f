"""GANs of tables: columns of numbers, categories, dates and times."""

from fastgan.tabular.errors import TableError, TableWarning
from fastgan.tabular.gan import TabularGAN

__all__ = ["TableError", "TableWarning", "TabularGAN"]
