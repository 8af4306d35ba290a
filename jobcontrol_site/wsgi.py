"""The site for WSGI servers (gunicorn)."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobcontrol_site.settings")

application = get_wsgi_application()

# All pages, which the first request would load otherwise. What exists by now stays for ever: a full
# collection would walk through all of it again, 90 ms in each second or third large page.
_ = get_resolver().url_patterns
gc.collect()
gc.freeze()
