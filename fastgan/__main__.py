"""``python -m fastgan``."""

import signal
import sys

from fastgan import _startup


def main() -> None:
    """Run the command line; SIGTERM and SIGHUP end it as Ctrl-C does: nothing is left half-written."""
    from fastgan.cli import main as run

    try:
        _startup.finish()
        run()
    except KeyboardInterrupt:
        print("fastgan: interrupted", file=sys.stderr)
        raise SystemExit(_startup.INTERRUPTED) from None
    finally:
        # nothing is left to save: Ctrl-C ends the process while Python winds up, without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
