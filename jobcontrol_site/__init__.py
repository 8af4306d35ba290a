"""The Django project: settings, URLs, the admin site, the command line."""
