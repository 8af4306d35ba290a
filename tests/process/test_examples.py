"""The examples, built by a real worker as a newcomer would."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bootstrap import ROOT
from tests.support.site import Site


def use_example(site: Site, name: str) -> None:
    """Make `site` a copy of an example."""
    shutil.copytree(
        ROOT / "examples" / name,
        site.folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("output", "__pycache__", "*.sqlite3*", ".jobcontrol"),
    )


def build(site: Site, job: str, *options: str) -> dict:
    """Let the worker build `job` and return the build, which must be a success."""
    made = site.json("build_job", job, "--queue", "--wait", *options)
    if made["status"] != "SUCCESSFUL":
        pytest.fail(f"{made['exception']}\n{site.manage('build_log', str(made['id'])).stdout}")
    return made


def leaves(progress: dict) -> list[dict]:
    """The bars of a progress tree that have none below them."""
    if not progress["children"]:
        return [progress]
    return [leaf for child in progress["children"] for leaf in leaves(child)]


def test_all_jobs_of_the_package_inventory_build_green(site):
    use_example(site, "packages")
    assert [job["problem"] for job in site.json("list_jobs")] == [""] * 6
    with site.cluster(WORKERS=2):
        scan = build(site, "scan")
        hashes = build(site, "hash_files")
        licences = build(site, "licences")
        graph = build(site, "dependency_graph")
        report = build(site, "report")

        refused = site.manage("build_job", "publish_report", "--queue")
        assert refused.returncode == 2
        assert "protected" in refused.stderr
        published = build(site, "publish_report", "--arm")

    # `repr_function` of scan, and a bar for each package of hash_files
    packages = int(scan["retval"].split()[0])
    assert packages > 20
    assert scan["progress"]["current"] == scan["progress"]["total"] == packages
    assert len(leaves(hashes["progress"])) == packages
    assert "'MIT'" in licences["retval"]
    assert "'asgiref'" in graph["retval"]
    assert report["dependency_builds"] == {
        "scan": scan["id"],
        "hash_files": hashes["id"],
        "licences": licences["id"],
        "dependency_graph": graph["id"],
    }
    assert "different licences" in site.manage("build_log", str(licences["id"])).stdout

    page = site.folder / "output" / f"inventory-{report['id']}.html"
    copy = site.folder / "output" / "published" / page.name
    assert "<td>django</td>" in page.read_text(encoding="utf-8")
    assert copy.read_bytes() == page.read_bytes()
    assert {job["status"] for job in site.json("list_jobs")} == {"success"}

    site.manage("delete_build", str(published["id"]), check=True)
    assert not copy.exists()
    assert page.exists()


PAGES = {
    "/": '<h1>Start</h1> <a href="/one">one</a> <a href="two#part">two</a> <a href="/gone">x</a>',
    "/one": '<p>spam spam</p> <a href="/">back</a> <a href="http://elsewhere.invalid/">away</a>',
    "/two": '<p>spam eggs</p> <a href="/two">self</a> <a href="mailto:a@b.invalid">mail</a>',
}


class _Website(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = PAGES.get(self.path)
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((page or "").encode())

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def website() -> Iterator[str]:
    """The URL of a small website on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Website)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_crawler_crawls_and_processes_the_sites_it_is_given(site, website):
    site.env["CRAWL_SITES"] = f"first={website} second={website}one"
    site.env["no_proxy"] = site.env["NO_PROXY"] = "127.0.0.1"
    use_example(site, "crawl")
    ids = [job["id"] for job in site.json("list_jobs")]
    assert ids == ["crawl_first", "process_first", "crawl_second", "process_second"]
    with site.cluster(WORKERS=2):
        builds = {job: build(site, job) for job in ids}

    def folder(job: str) -> Path:
        return site.folder / "output" / job.replace("_", "ed_", 1) / str(builds[job]["id"])

    crawled = [json.loads(path.read_text()) for path in folder("crawl_first").glob("*.json")]
    assert {page["url"] for page in crawled} == {website, f"{website}one", f"{website}two"}
    counts = json.loads((folder("process_first") / "words.json").read_text())
    assert counts["spam"] == 3
    assert counts["eggs"] == 1
    log = site.manage("build_log", str(builds["crawl_first"]["id"])).stdout
    assert f"{website}gone: HTTP Error 404" in log

    site.manage("delete_build", str(builds["process_first"]["id"]), check=True)
    assert not folder("process_first").exists()
    assert folder("crawl_first").exists()


def test_a_site_that_does_not_answer_fails_its_crawl_only(site, website):
    site.env["CRAWL_SITES"] = f"good={website} gone={website}nowhere"
    site.env["no_proxy"] = site.env["NO_PROXY"] = "127.0.0.1"
    use_example(site, "crawl")
    failed = site.manage("build_job", "crawl_gone", "--format", "json")
    assert failed.returncode == 1
    made = json.loads(failed.stdout)
    assert made["status"] == "FAILED"
    assert "could be fetched" in made["exception"]
    # What depends on it can't be built, and says why; the other site is not affected.
    refused = site.manage("build_job", "process_gone")
    assert refused.returncode == 2
    assert "crawl_gone" in refused.stderr
    assert site.json("build_job", "crawl_good")["status"] == "SUCCESSFUL"
