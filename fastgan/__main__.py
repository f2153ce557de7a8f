"""``python -m fastgan``."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        # takes seconds, in which Ctrl-C may come as well
        from fastgan.cli import main as run

        run()
    except KeyboardInterrupt:
        print("fastgan: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
