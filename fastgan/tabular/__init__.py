"""GANs of tables: columns of numbers, categories, dates and times."""

from fastgan.tabular.errors import TableError, TableWarning

__all__ = ["TableError", "TableWarning"]
