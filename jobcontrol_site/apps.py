"""Makes the admin site ours."""

from django.contrib.admin.apps import SimpleAdminConfig


class SiteAdminConfig(SimpleAdminConfig):
    """Django's admin with our site as the default one.

    Its pages are found by `jobcontrol_site.urls`, when somebody asks for an address: commands and
    workers do without them, and start faster.
    """

    default_site = "jobcontrol_site.admin.JobControlAdminSite"
