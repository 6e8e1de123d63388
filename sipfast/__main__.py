"""`python -m sipfast`, the same as the `sipfast` command."""

from .cli import main

raise SystemExit(main())
