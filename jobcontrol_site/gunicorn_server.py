"""gunicorn, with options of ours in place of its command line's."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]


class Gunicorn(BaseApplication):  # type: ignore[misc]  # it has no types
    """Serves the pages with the options that it is given."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Use our options; those of a command line are not read."""
        self.cfg.set("default_proc_name", "jobcontrol")
        for name, value in self._options.items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:
            # Newer versions leave a socket in the home folder, which nothing here uses.
            self.cfg.set("control_socket_disable", True)

    def load(self) -> Any:
        """Return what answers."""
        return import_string("jobcontrol_site.wsgi.application")
