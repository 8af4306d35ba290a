"""What the documents show, tried as a reader would: copied out and run."""

import re
import textwrap
from pathlib import Path

from tests.bootstrap import ROOT
from tests.support.site import Site


def blocks(document: str) -> list[str]:
    """The indented blocks of a document, in order, without their indentation."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, flags=re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found]


def block(document: str, containing: str) -> str:
    """The one block of a document that has `containing` in it."""
    (found,) = (each for each in blocks(document) if containing in each)
    return found


def run(site: Site, command: str) -> str:
    """Run a `jobcontrol-cli …` of a document, which must succeed, and return what it wrote."""
    words = command.partition("#")[0].split()
    assert words[0] == "jobcontrol-cli"
    done = site.run("-m", "jobcontrol_site.cli", *words[1:])
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def start_anew(site: Site) -> Path:
    """Take away what a reader has not: a database and a file that the environment names."""
    for name in ("DATABASE_URL", "JOBCONTROL_CONFIG", "SECRET_KEY"):
        site.env.pop(name, None)
    site.config_path.unlink()
    return site.folder


def test_the_first_job_of_the_readme_runs(site):
    folder = start_anew(site)
    (folder / "hello.py").write_text(block("README.md", "def greet"), encoding="utf-8")
    (folder / "jobcontrol.yaml").write_text(block("README.md", "hello:greet"), encoding="utf-8")
    said = [run(site, line) for line in block("README.md", "build-job greet").splitlines()]
    assert "Hello, world!" in said[-1]
    assert (folder / "jobcontrol.sqlite3").is_file()


CRAWLER = """
def crawl(url):
    return f"the text of {url}"


def count_words(text):
    return len(text.split())
"""


def test_the_configuration_and_the_test_of_the_guide_for_job_authors_run(site):
    """Also with a secret; and the test leaves the site alone."""
    folder = start_anew(site)
    guide = "docs/job-authors.md"
    (folder / "mycrawler.py").write_text(CRAWLER, encoding="utf-8")
    (folder / "fetcher.py").write_text("def fetch(key):\n    print(key)\n", encoding="utf-8")
    jobs = block(guide, "mycrawler:count_words\n")
    secret = block(guide, "fetcher:fetch").replace("jobs:\n", jobs)
    (folder / "jobcontrol.yaml").write_text(secret, encoding="utf-8")
    (folder / "test_mycrawler.py").write_text(block(guide, "def test_"), encoding="utf-8")
    site.env["API_KEY"] = 'a "key": #1'
    run(site, "jobcontrol-cli install")
    assert "3 jobs checked, all can run." in run(site, "jobcontrol-cli check-jobs")
    for job in ("crawl", "count_words"):
        built = run(site, f"jobcontrol-cli build-job {job}")
    assert "Return value\n4\n" in built
    run(site, "jobcontrol-cli build-job fetch")
    assert "stdout: •••" in run(site, "jobcontrol-cli build-log 3")

    before = run(site, "jobcontrol-cli --format json list-builds")
    tested = site.run("-m", "pytest", "-q", "-p", "no:django", "-p", "no:schemathesis")
    assert "1 passed" in tested.stdout, tested.stdout
    assert run(site, "jobcontrol-cli --format json list-builds") == before
