"""docs/from-the-original.md names everything that the original's manual documents, truthfully."""

import importlib
import inspect
import re

import pytest

from tests.bootstrap import ROOT

DOCUMENT = (ROOT / "docs/from-the-original.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", DOCUMENT, flags=re.MULTILINE))

# The manual's "Internals documentation", in its order: module, then names, then members.
INTERNALS = {
    "cli": "cli_main main",
    "config": """
        JobControlConfig JobControlConfig.from_file JobControlConfig.from_string
        JobControlConfig.preprocess_config JobControlConfig.storage JobControlConfig.jobs
        JobControlConfig.webapp JobControlConfig.celery JobControlConfig.secret
        JobControlConfig.get_storage JobControlConfig.get_job_config JobControlConfig.get_job
        JobControlConfig.get_job_deps JobControlConfig.get_job_revdeps BuildConfig Retval
        """,
    "core": """
        JobControl JobControl.from_config_file JobControl.from_config JobControl.get_job
        JobControl.iter_jobs JobControl.get_build JobControl.create_build JobControl.build_job
        JobControl.run_build JobControl.prune_logs JobControl.report_progress
        JobControl.get_celery_app
        JobExecutionContext JobExecutionContext.push JobExecutionContext.pop
        JobExecutionContext.current_app JobExecutionContext.current_job
        JobExecutionContext.current_build
        JobControlLogHandler JobControlLogHandler.flush JobControlLogHandler.emit
        JobInfo JobInfo.id JobInfo.config JobInfo.get_deps JobInfo.get_status JobInfo.get_revdeps
        JobInfo.iter_builds JobInfo.get_builds JobInfo.run JobInfo.create_build
        JobInfo.get_latest_successful_build JobInfo.get_docs JobInfo.get_conf_as_yaml
        JobInfo.has_builds JobInfo.has_successful_builds JobInfo.has_running_builds
        JobInfo.is_outdated JobInfo.can_be_built
        BuildInfo BuildInfo.app BuildInfo.build_id BuildInfo.id BuildInfo.job_id BuildInfo.info
        BuildInfo.config BuildInfo.descriptive_status BuildInfo.refresh
        BuildInfo.get_progress_info BuildInfo.get_job BuildInfo.delete BuildInfo.run
        BuildInfo.iter_log_messages
        """,
    "exceptions": """
        JobControlException NotFound MissingDependencies SkipBuild SerializationError
        """,
    # The manual names the module only; these four are what its users import from there.
    "globals": "current_app current_job current_build execution_context",
    "interfaces": """
        StorageBase StorageBase.from_url StorageBase.install StorageBase.uninstall
        StorageBase.get_job_builds StorageBase.create_build StorageBase.get_build
        StorageBase.delete_build StorageBase.start_build StorageBase.finish_build
        StorageBase.finish_build_with_exception StorageBase.update_build_progress
        StorageBase.report_build_progress StorageBase.get_build_progress_info
        StorageBase.get_latest_successful_build StorageBase.log_message
        StorageBase.prune_log_messages StorageBase.iter_log_messages StorageBase.pack
        StorageBase.pack_exception StorageBase.unpack
        """,
    "utils.depgraph": "DepResolutionError DepLoop resolve_deps",
    "utils.local": """
        implements_bool release_local Local LocalStack LocalStack.push LocalStack.pop
        LocalStack.top LocalProxy
        """,
    "utils.testing": """
        job_simple_echo testing_job job_with_logging job_with_tracer_log job_failing_once
        job_echo_config RecordingLogHandler RecordingLogHandler.flush RecordingLogHandler.emit
        RecordingLogHandler.print_messages RecordingLogHandler.clear_messages
        NonSerializableObject NonSerializableObject.foo NonSerializableObject.bar
        NonSerializableException job_returning_nonserializable job_raising_nonserializable
        """,
    "utils.web": "json_view generate_csrf_token",
    "utils": """
        cached_property import_object get_storage_from_url get_storage_from_config short_repr
        json_dumps trim_string FrameInfo TracebackInfo TracebackInfo.from_current_exc
        TracebackInfo.from_tb TracebackInfo.format TracebackInfo.format_color ProgressReport
        ProgressReport.current ProgressReport.total ProgressReport.percent
        ProgressReport.percent_human ProgressReport.progress_label ProgressReport.color_css_rgb
        ProgressReport.from_table NotSerializableRepr ExceptionPlaceholder LogRecord
        LogRecord.from_record
        """,
}
NAMES = [
    (f"jobcontrol.{module}", name) for module, names in INTERNALS.items() for name in names.split()
]
CONFIGURATION = [
    "storage",
    "webapp",
    "celery",
    "secret",
    "jobs",
    "id",
    "title",
    "notes",
    "function",
    "args",
    "kwargs",
    "dependencies",
    "pinned_builds",
    "protect",
    "cleanup",
    "!retval",
]
COMMANDS = [
    "--config-file",
    "install",
    "uninstall",
    "web",
    "worker",
    "list-jobs",
    "show-job",
    "list-builds",
    "get-build",
    "delete-build",
    "build-job",
    "dump-config",
]


def is_at_its_old_path(module, name):
    """Whether `module` has `name`: as an attribute, or one that instances of the class get."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    *owners, last = name.split(".")
    for owner in owners:
        if not hasattr(found, owner):
            return False
        found = getattr(found, owner)
    if hasattr(found, last):
        return True
    is_class = inspect.isclass(found)
    return is_class and bool(
        re.search(rf"\bself\.{last}\b.* =|^    {last}:", inspect.getsource(found), re.MULTILINE)
    )


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{m}.{n}" for m, n in NAMES])
def test_the_document_says_what_became_of_each_name_of_the_internals(module, name):
    fate = ROWS.get(f"{module}.{name}")
    assert fate, f"{module}.{name} is not in a table of docs/from-the-original.md"
    assert is_at_its_old_path(module, name) == fate.startswith("kept"), fate


@pytest.mark.parametrize("name", [*CONFIGURATION, *COMMANDS])
def test_the_document_says_what_became_of_each_key_and_command(name):
    assert name in ROWS


def exists(dotted):
    """Whether a name with any number of modules and attributes in it can be reached."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        return length == len(parts) or is_at_its_old_path(module, ".".join(parts[length:]))
    return False


def test_what_is_named_as_a_replacement_exists():
    fates = " ".join(ROWS.values())
    dotted = set(re.findall(r"`((?:builds|jobs|jobcontrol_site|functools|json)\.[\w.]+)`", fates))
    assert len(dotted) > 10
    assert [name for name in dotted if not exists(name)] == []
