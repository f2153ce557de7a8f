"""``python -m fastgan``."""

import signal
import sys


def main() -> None:
    """Run the command line; SIGTERM ends it as Ctrl-C does, so that nothing is left half-written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # takes seconds, in which Ctrl-C may come as well
        from fastgan.cli import main as run

        run()
    except KeyboardInterrupt:
        print("fastgan: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
