"""The jobs and the history of the site that `tools/screenshots.py` takes pictures of."""

from __future__ import annotations

USER = "admin"

MODULE = '''
"""Jobs of a small shop."""

import logging
import time

from jobcontrol.globals import current_app

logger = logging.getLogger(__name__)

PRODUCTS = [
    {"name": "Apple juice", "price": "2.40"},
    {"name": "Pear juice", "price": "2.80"},
    {"name": "Cherry jam", "price": "on request"},
]


def read_catalogue(suppliers, pages=40):
    """Read the catalogues of our suppliers, page by page.

    :param suppliers: names of the suppliers to ask
    :param pages: how many pages to read of each
    """
    logger.info("Reading the catalogues of %d suppliers", len(suppliers))
    for number, supplier in enumerate(suppliers):
        logger.debug("Asking %s for its catalogue", supplier)
        done = pages if number == 0 else pages // (2 * number)
        current_app.report_progress((supplier, "products"), done, pages, f"Page {done} of {pages}")
        current_app.report_progress((supplier, "pictures"), done // 2, pages)
    logger.warning("%s answers slowly: 3 seconds a page", suppliers[-1])
    time.sleep(3600)


def check_prices(currency="EUR", only=None):
    """Check that every price is a number."""
    products = PRODUCTS[:only]
    logger.info("Checking %d prices in %s", len(products), currency)
    if currency != "EUR":
        logger.warning("The rate of %s is 3 days old", currency)
    total = 0.0
    for number, product in enumerate(products, start=1):
        current_app.report_progress(None, number, len(products), product["name"])
        total += price_of(product)
    return total


def price_of(product):
    """Return a product's price as a number."""
    try:
        return float(product["price"])
    except ValueError as error:
        logger.error("%s has no price", product["name"])
        raise LookupError(f"no price for {product['name']!r}") from error


def weekly_digest(catalogue):
    """Write the weekly digest."""


def order_stock():
    """Order what has run out."""
    raise ConnectionError("the supplier's server does not answer")


def export_stock():
    """Export the stock."""
    return "stock.csv"


def remove_export(build):
    """Take an export back."""
    logger.info("Taking %s back", build["retval"])
    raise PermissionError("the archive is read-only on Sundays")
'''

JOBS = """
  - id: read_catalogue
    title: "Read the suppliers' catalogues"
    function: shop:read_catalogue
    args: [[Orchard, Mill, Dairy]]
    tags: [shop, slow]

  - id: check_prices
    title: "Check the prices"
    function: shop:check_prices
    kwargs: {currency: EUR}
    tags: [shop]

  - id: weekly_digest
    title: "Write the weekly digest"
    function: shop:weekly_digest
    args: [!retval read_catalogue]
    schedule: ["45 23 * * *"]
    tags: [shop]

  - id: stocktaking
    title: "Take stock"
    function: shop:take_stock
    tags: [shop]

  - id: price_list
    title: "Print the price list"
    function: shop:export_stock
    dependencies: [check_prices, export_stock]
    tags: [shop]

  - id: price_report
    title: "Report on prices"
    function: shop:export_stock
    dependencies: [price_list, report]
    tags: [shop]

  - id: order_stock
    title: "Order what has run out"
    function: shop:order_stock
    timeout: 10m
    retries: {count: 3, delay: 1h, on: [exception, timeout]}
    tags: [shop]

  - id: export_stock
    title: "Export the stock"
    function: shop:export_stock
    cleanup: shop:remove_export
    tags: [shop]
"""

AREAS = ("orders", "stock", "prices", "suppliers", "customers", "invoices", "returns", "website")
STAGES = ("Fetch", "Check", "Clean", "Join", "Sum up", "Report on")
MANY = 500


def many_jobs() -> str:
    """Return a configuration of many jobs: areas, each with chains of jobs and some for themselves.

    An area's chains use what the area before it has cleaned.
    """
    jobs = []
    for number in range(MANY):
        area, place = divmod(number, MANY // len(AREAS) + 1)
        chain, stage = divmod(place, len(STAGES))
        is_alone = chain % 5 == 4
        needs = [f"{AREAS[area]}_{place - 1}"] if stage and not is_alone else []
        if stage == 3 and chain > 0 and not is_alone:
            needs.append(f"{AREAS[area]}_{place - len(STAGES) - 1}")
        if stage == 3 and chain == 0 and area:
            needs.append(f"{AREAS[area - 1]}_2")
        title = f"{STAGES[stage]} the {AREAS[area]} of shop {chain + 1}"
        jobs.append(
            f"  - {{id: {AREAS[area]}_{place}, title: {title}, tags: [{AREAS[area]}], "
            f"function: 'shop:export_stock', dependencies: [{', '.join(needs)}]}}"
        )
    return "\n".join(["jobs:", *jobs, ""])


# Run once, without a worker: each job has a build, of which some failed and some run.
MANY_SETUP = f"""
from django.contrib.auth.models import User
from django.utils import timezone
from builds.models import Build, BuildDependency, BuildPayload
from jobs.models import Job, JobDependency

User.objects.create_superuser({USER!r}, password={USER!r})
now = timezone.now()
newest = dict()
for number, job in enumerate(Job.objects.all()):
    needs = [link.depends_on_id for link in JobDependency.objects.filter(job=job)]
    good = number % 41 != 40 and all(name in newest for name in needs)
    status = "SUCCESSFUL" if good else "FAILED"
    if number % 29 == 28:
        continue
    made = Build.objects.create(job=job, status=status, start_time=now, end_time=now)
    BuildPayload.objects.create(build=made, config=job.config)
    for name in needs:
        if name in newest:
            old = newest[name]
            BuildDependency.objects.create(
                build=made, job_id=name, dep_build=old, dep_build_number=old.pk
            )
    if good:
        newest[job.pk] = made
for name in ("orders_1", "stock_14", "website_3"):
    Build.objects.create(job_id=name, status="RUNNING", start_time=now, heartbeat=now)
for name in ("prices_0", "returns_8"):
    made = Build.objects.create(job_id=name, status="SUCCESSFUL", start_time=now, end_time=now)
    BuildPayload.objects.create(build=made, config=Job.objects.get(pk=name).config)
"""

# Run in the site's Django, while its worker works: everything that the pictures show has happened
# when it ends. Its last line is a JSON object: names and numbers of builds.
SETUP = f"""
import json, random, time
from datetime import timedelta
from django.contrib.auth.models import User
from builds import services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.planning import Dependencies, Options
from django.utils import timezone
from jobs.models import Job

random.seed(7)
user = User.objects.create_superuser({USER!r}, password={USER!r})
made = dict()

def ask(name, arm=False, trigger="quick", **options):
    build = services.request_build(
        job=Job.objects.get(id=name), trigger=trigger, requested_by=user, arm=arm, **options
    )
    made[name] = build.pk
    return build

def wait(*builds):
    numbers = [one.pk for one in builds]
    while Build.objects.filter(pk__in=numbers, end_time=None).exists():
        time.sleep(0.1)

def past(name, count, seconds):
    # Builds of the days before: nobody waits for fifty of them.
    now = timezone.now()
    for n in range(count):
        ended = random.choices(("SUCCESSFUL", "FAILED", "CANCELLED", "SKIPPED"), (22, 3, 1, 2))[0]
        start = now - timedelta(hours=7 * (count - n))
        took = seconds * random.uniform(0.7, 1.2) * (1.3 if n > count * 2 / 3 else 1)
        if ended != "SUCCESSFUL":
            took *= random.uniform(0.1, 0.8)
        Build.objects.create(
            job_id=name, status=ended, trigger="schedule", created=start, start_time=start,
            end_time=start + timedelta(seconds=took * (3 if n == count - 8 else 1)),
            exception_type="TimeoutError" if ended == "FAILED" else "",
            exception_message={{"FAILED": "the mirror does not answer",
                                "SKIPPED": "nothing is new"}}.get(ended, ""),
        )

def delete(build, **options):
    deletion = services.request_deletion(build=build, requested_by=user, **options)
    while Deletion.objects.filter(pk=deletion.pk, state__in=["WAITING", "RUNNING"]).exists():
        time.sleep(0.1)

past("scan", 54, 40)
past("licences", 33, 12)
past("report", 48, 95)
wait(ask("scan"))
wait(ask("hash_files"), ask("licences"), ask("dependency_graph"))
wait(ask("report"))
wait(ask("publish_report", arm=True))
two = dict(currency="SEK", only=2)
wait(ask("check_prices", trigger="manual", kwargs=two))
made["checked_prices"] = made["check_prices"]
wait(ask("scan"), ask("check_prices", trigger="cli"))
wait(ask("licences"))
first, second = ask("export_stock"), ask("export_stock")
wait(first, second)
delete(first)
delete(first, cleanup=False)
delete(second)
for name in ("waiting", "cancelled"):
    wait(ask("order_stock"))
    again = Build.objects.get(retry_of=made["order_stock"])
    made[name] = again.pk
services.cancel_build(build=again, requested_by=user)
def plan(name, first):
    job = Job.objects.get(id=name)
    options = Options(dependencies=Dependencies(first))
    wish = dict(job=job, trigger="manual", requested_by=user, options=options)
    return services.request_build(**wish).plan

failed = plan("price_report", "all")
while failed.builds.filter(end_time=None).exists():
    time.sleep(0.1)
made["plan"] = failed.pk
made["price_report"] = failed.builds.get(job="price_report").pk
running = ask("read_catalogue")
while Build.objects.get(pk=running.pk).progress.count() < 6:
    time.sleep(0.1)
made["waiting_plan"] = plan("weekly_digest", "all").pk
print(json.dumps(made))
"""
