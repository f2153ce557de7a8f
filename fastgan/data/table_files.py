"""Names of files of tables, known without the packages that read them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".csv", ".tsv", ".parquet")
_READERS = {
    ".arrow": "read_feather({!r})",
    ".dta": "read_stata({!r})",
    ".feather": "read_feather({!r})",
    ".json": "read_json({!r})",
    ".jsonl": "read_json({!r}, lines=True)",
    ".ndjson": "read_json({!r}, lines=True)",
    ".ods": "read_excel({!r})",
    ".orc": "read_orc({!r})",
    ".sas7bdat": "read_sas({!r})",
    ".sav": "read_spss({!r})",
    ".xls": "read_excel({!r})",
    ".xlsx": "read_excel({!r})",
}
_RENAMED = {
    ".pq": "rename it to .parquet",
    ".tab": "if tabs separate its columns, rename it to .tsv",
    ".txt": "if commas separate its columns, rename it to .csv, if tabs do, to .tsv",
}
_COMPRESSED = (".bz2", ".gz", ".xz", ".zip", ".zst")


def is_table_file(path: Path) -> bool:
    """Whether the name is that of a table, in a form that is read or in another known one."""
    return path.suffix.lower() in SUFFIXES or other_form(path) is not None


def other_form(path: Path) -> str | None:
    """How to convert a table in a form that is not read; None if the name is not that of one."""
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED and is_table_file(path.with_suffix("")):
        return f"decompress it to {path.stem}"
    if suffix in _READERS:
        read, written = _READERS[suffix].format(path.name), path.with_suffix(".parquet").name
        return f"convert it, for example with pandas.{read}.to_parquet({written!r})"
    return _RENAMED.get(suffix)
