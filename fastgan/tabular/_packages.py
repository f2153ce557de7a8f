"""Packages without which no file here can be imported."""

from importlib.util import find_spec

for _name in ("pandas", "pyarrow", "sklearn", "PIL", "yaml", "safetensors"):
    if find_spec(_name) is None:
        raise ImportError(
            f"fastgan.tabular needs {_name}: pip install '.[tabular]' in fastgan's sources", name=_name
        )
