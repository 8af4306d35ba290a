"""Settings: the environment beats the configuration file, which beats the defaults.

The file's own sections (`storage`, `webapp`, `worker`, `celery`, `secret`) are read here by
`jobs.config.load_site_sections`, which skips the jobs and needs no Django.
"""

from __future__ import annotations

import math
import os
import secrets
import sys
import time
import warnings
import zoneinfo
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from jobcontrol.exceptions import JobControlException
from jobcontrol_site import security
from jobs.config import SiteSections, load_site_sections

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")

env = environ.Env()


def _number(name: str, default: float) -> float:
    """Read a number from the environment."""
    text = env.str(name, default="")
    try:
        number = float(text) if text else float(default)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ImproperlyConfigured(f"{name} must be a number, not {text!r}.")
    return number


def _whole(name: str, default: int) -> int:
    """Read a whole number from the environment."""
    number = _number(name, default)
    if not number.is_integer():
        raise ImproperlyConfigured(f"{name} must be a whole number, not {number:g}.")
    return int(number)


# --- The configuration file ---------------------------------------------------------------------


def _config_path() -> Path:
    """Return the configuration file: named, in the working folder, or the checkout's example."""
    named = env.str("JOBCONTROL_CONFIG", default="")
    if named:
        return Path(named).resolve()
    candidates = (Path.cwd() / "jobcontrol.yaml", BASE_DIR / "examples/packages/jobcontrol.yaml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ImproperlyConfigured(
        "no configuration file: name one with JOBCONTROL_CONFIG or --config-file, "
        "or start in a folder that holds a jobcontrol.yaml"
    )


def _site_sections(path: Path) -> SiteSections:
    """Read the file's settings; without a database named elsewhere an unreadable file is fatal."""
    try:
        return load_site_sections(str(path))
    except JobControlException as error:
        if env.str("DATABASE_URL", default=""):
            return SiteSections()
        raise ImproperlyConfigured(
            f"the configuration file can't be read, so the database is not known:\n{error}\n"
            "Mend the file, or set DATABASE_URL."
        ) from error


JOBCONTROL_CONFIG = str(_config_path())
JOBCONTROL_SITE = _site_sections(Path(JOBCONTROL_CONFIG))
_webapp: dict[str, Any] = dict(JOBCONTROL_SITE.webapp)

# --- Database -----------------------------------------------------------------------------------

_database_url = env.str("DATABASE_URL", default="") or JOBCONTROL_SITE.storage or ""
_RUNSERVER = "runserver" in sys.argv


def _database(url: str) -> dict[str, Any]:
    """Return Django's database settings for `url` (SQLite beside the file when empty)."""
    if not url:
        url = f"sqlite:///{Path(JOBCONTROL_CONFIG).parent / 'jobcontrol.sqlite3'}"
    try:
        with warnings.catch_warnings():
            # It warns of a scheme that it does not know, and shows the password with that.
            warnings.simplefilter("ignore")
            database: dict[str, Any] = dict(env.db_url_config(url))
        _ = database["ENGINE"]
    except (ValueError, KeyError, ImproperlyConfigured) as error:
        scheme = url.partition(":")[0]
        raise ImproperlyConfigured(
            f"the database URL ({scheme}:…) can't be understood. "
            "Use postgresql://user:password@host/name or sqlite:///path."
        ) from error
    if database["ENGINE"].endswith("sqlite3"):
        ours = {
            # A transaction that will write takes the lock at its start, so that it never fails
            # half-way with "database is locked".
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        database["OPTIONS"] = ours | database.get("OPTIONS", {})
    elif not database["ENGINE"].endswith("postgresql"):
        raise ImproperlyConfigured(
            f"JobControl keeps its data in SQLite or PostgreSQL, not in {database['ENGINE']!r}."
        )
    else:
        # A server that vanished from the network must not hang a page, a heartbeat or a stop.
        # What the URL says beats this.
        patience = {"connect_timeout": 5, "tcp_user_timeout": 30_000}
        patience |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        database["OPTIONS"] = patience | database.get("OPTIONS", {})
    # A new PostgreSQL connection per request or build costs more than the work itself. runserver
    # starts a thread per request and would leave one connection open for each.
    database["CONN_MAX_AGE"] = 0 if _RUNSERVER else None
    database["CONN_HEALTH_CHECKS"] = True
    return database


DATABASES = {"default": _database(_database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _state_folder() -> Path:
    """Return the folder for what this site keeps beside its database (made when needed)."""
    if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return Path(DATABASES["default"]["NAME"]).resolve().parent / ".jobcontrol"
    return Path(JOBCONTROL_CONFIG).parent / ".jobcontrol"


JOBCONTROL_STATE = _state_folder()

# --- Web ----------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=bool(_webapp.get("DEBUG", False)))
HOST = env.str("HOST", default=str(_webapp.get("HOST", "127.0.0.1")))
PORT = _whole("PORT", int(_webapp.get("PORT", 8000)))
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=list(_webapp.get("ALLOWED_HOSTS", LOOPBACK[:3])))
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])


def _local_secret_key() -> str:
    """Make, or read, the key that a site used on one machine keeps for itself."""
    path = JOBCONTROL_STATE / "secret_key"
    try:
        JOBCONTROL_STATE.mkdir(mode=0o700, exist_ok=True)
        # O_EXCL: of two processes that start at once, one writes and the other reads.
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _kept_secret_key(path)
    except OSError as error:
        raise _no_secret_key(path, error.strerror or str(error)) from error
    key = secrets.token_urlsafe(50)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key)
    return key


def _kept_secret_key(path: Path) -> str:
    """Read the kept key; the process that made the file may not have written it yet."""
    try:
        for _ in range(20):
            if key := path.read_text(encoding="ascii").strip():
                return key
            time.sleep(0.05)
    except (OSError, ValueError) as error:
        raise _no_secret_key(path, str(error)) from error
    raise _no_secret_key(path, "the file is empty; delete it, and a new key is made")


def _no_secret_key(path: Path, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"no SECRET_KEY is set, and none can be kept in {path}: {why}. "
        "Set SECRET_KEY in the environment."
    )


def _secret_key() -> str:
    """Return the key: named, or a kept one for local use."""
    named = env.str("SECRET_KEY", default="") or str(_webapp.get("SECRET_KEY") or "")
    if named:
        return named
    is_local = HOST in LOOPBACK and all(host in LOOPBACK for host in ALLOWED_HOSTS)
    if not DEBUG and not is_local:
        raise ImproperlyConfigured(
            "SECRET_KEY must be set (in the environment, or as webapp.SECRET_KEY in the file) "
            "when other machines may reach this site."
        )
    return _local_secret_key()


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

INSTALLED_APPS = [
    "jobcontrol",
    "jobs",
    # Before django_q: its `qcluster` command is ours.
    "builds",
    "jobcontrol_site.apps.SiteAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
]

MIDDLEWARE = [
    "jobcontrol_site.security.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "jobs.middleware.RegistryMiddleware",
    # Innermost: what others say of a page's content, they say of the content that is sent.
    "jobcontrol_site.directions.DirectionsMiddleware",
]

ROOT_URLCONF = "jobcontrol_site.urls"
WSGI_APPLICATION = "jobcontrol_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "jobs.context_processors.configuration",
                "builds.context_processors.workers",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

AUTHENTICATION_BACKENDS = ["jobcontrol_site.permissions.OneQueryBackend"]

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default=str(_webapp.get("TIME_ZONE", "UTC")))
if TIME_ZONE not in zoneinfo.available_timezones():
    raise ImproperlyConfigured(
        f"there is no time zone {TIME_ZONE!r}; use a name such as Europe/Rome."
    )
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = ["jobcontrol_site.formats"]

STATIC_URL = "static/"
# Static files are served from the apps themselves: no collectstatic step. A site that serves them
# by its web server names a folder here and runs collectstatic.
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None
WHITENOISE_USE_FINDERS = True

CSRF_FAILURE_VIEW = "jobcontrol_site.errors.csrf_failure"
# The build form has a field for each dependency; Django's 1,000 would refuse it. How large a
# request may be as a whole is bounded besides.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True

# --- HTTPS: off by default, so that a site on this machine works as it is ---------------

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
# A load balancer asks for it from within, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=False)
SESSION_COOKIE_SECURE = env.bool("SESSION_COOKIE_SECURE", default=SECURE_SSL_REDIRECT)
CSRF_COOKIE_SECURE = env.bool("CSRF_COOKIE_SECURE", default=SECURE_SSL_REDIRECT)
# Only where a proxy sets the header itself, whatever the client sent.
SECURE_PROXY_SSL_HEADER = security.proxy_ssl_header(env.str("SECURE_PROXY_SSL_HEADER", default=""))

# --- Workers ------------------------------------------------------------------------------------

_worker = JOBCONTROL_SITE.worker
WORKERS = _whole("WORKERS", _worker.processes or 2)
HEARTBEAT_SECONDS = _number("HEARTBEAT_SECONDS", _worker.heartbeat or 5.0)
LEASE_SECONDS = _number("LEASE_SECONDS", _worker.lease or 60.0)
# From asking a build to end (a cancel, a timeout, a shutdown) to killing its worker.
GRACE_SECONDS = _number("GRACE_SECONDS", _worker.grace or 10.0)
# For which a worker that is stopped lets its builds go on.
SHUTDOWN_SECONDS = _number("SHUTDOWN_SECONDS", _worker.shutdown or 30.0)
# How long a build may run whose job names no `timeout`; None: for ever.
TIMEOUT_SECONDS = _worker.timeout
if GRACE_SECONDS < 0 or SHUTDOWN_SECONDS < 0:
    raise ImproperlyConfigured(
        "GRACE_SECONDS and SHUTDOWN_SECONDS must be 0 or more, not "
        f"{GRACE_SECONDS:g} and {SHUTDOWN_SECONDS:g}."
    )
if WORKERS < 1 or HEARTBEAT_SECONDS <= 0 or LEASE_SECONDS < 2 * HEARTBEAT_SECONDS:
    raise ImproperlyConfigured(
        "WORKERS must be 1 or more, HEARTBEAT_SECONDS above 0 and LEASE_SECONDS at least twice "
        f"that, not {WORKERS}, {HEARTBEAT_SECONDS:g} and {LEASE_SECONDS:g}."
    )


def _redis_url() -> str:
    """Return the broker's URL: from the environment, or an old file's `celery.BROKER_URL`."""
    url = env.str("REDIS_URL", default="") or JOBCONTROL_SITE.redis_url or ""
    # Celery's spelling of a socket; redis-py has another.
    return url.replace("redis+socket://", "unix://", 1)


REDIS_URL = _redis_url()
# What a return value may weigh (bytes) before the build fails with SerializationError.
RETVAL_MAX_BYTES = _whole("RETVAL_MAX_BYTES", 64 * 1024 * 1024)

_FAR = 10 * 365 * 24 * 3600  # seconds: past any build
Q_CLUSTER: dict[str, Any] = {
    "name": "jobcontrol",
    "workers": WORKERS,
    # A message only wakes a worker: builds have their own lease, so django-q2's timer and
    # redelivery are set out of the way.
    "timeout": _FAR,
    "retry": 2 * _FAR,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.05,
    "recycle": 100_000,
    "scheduler": False,
    "catch_up": False,
    "log_level": "WARNING",
    # Jobs may start child processes.
    "daemonize_workers": False,
    "label": "Queue",
}
if REDIS_URL:
    # A server that hangs must not hang a page: the build stays QUEUED and is woken for later.
    _joint = "&" if "?" in REDIS_URL else "?"
    Q_CLUSTER["redis"] = f"{REDIS_URL}{_joint}socket_connect_timeout=3&socket_timeout=10"
    Q_CLUSTER["broker_class"] = "builds.redis_queue.RedisBroker"
else:
    Q_CLUSTER["orm"] = "default"
    Q_CLUSTER["broker_class"] = "builds.queue.DatabaseBroker"

# --- Logging ------------------------------------------------------------------------------------

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in _LEVELS:
    raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {LOG_LEVEL!r}.")

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "jobs.logformat.MaskingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "filters": {"errors": {"()": "jobcontrol_site.logs.NameErrors"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["errors"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "builds": {"level": LOG_LEVEL},
        "jobs": {"level": LOG_LEVEL},
        "django-q": {"level": "WARNING"},
    },
}
