"""Makes the admin site ours."""

from django.contrib.admin.apps import AdminConfig


class SiteAdminConfig(AdminConfig):
    """Django's admin with our site as the default one."""

    default_site = "jobcontrol_site.admin.JobControlAdminSite"
