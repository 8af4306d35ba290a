"""What a web server's process does before its first request."""

import gc
from importlib import import_module, reload


def test_what_stays_for_ever_is_collected_no_more():
    """A full collection takes 90 ms otherwise, in every second or third large page."""
    module = import_module("jobcontrol_site.wsgi")
    gc.unfreeze()
    try:
        reload(module)
        assert gc.get_freeze_count() > 50_000
    finally:
        gc.unfreeze()
