"""GANs of tables: columns of numbers, categories, dates and times."""

import fastgan.tabular._packages  # noqa: F401  first, as its message names what to install

# isort: split
from fastgan.tabular.errors import TableError, TableWarning
from fastgan.tabular.gan import TabularGAN

__all__ = ["TableError", "TableWarning", "TabularGAN"]
