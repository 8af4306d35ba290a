#!/usr/bin/env python
"""Django's command line for this project."""

import sys

from jobcontrol_site.cli import manage

if __name__ == "__main__":
    sys.exit(manage())
