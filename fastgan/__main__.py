"""``python -m fastgan``."""

from fastgan.cli import main

if __name__ == "__main__":
    main()
