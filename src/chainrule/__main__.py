"""``python -m chainrule`` is the command ``chainrule``."""

from __future__ import annotations

from chainrule.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
