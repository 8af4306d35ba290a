"""LOG_LEVEL: from which level on processes log."""

import pytest

from tests.unit.test_security import settings_of

TELL = (
    "import logging; from builds import story;"
    " story.tell(logging.getLogger('builds.runner'), 'ended', build=12)"
)


@pytest.mark.parametrize(("level", "is_told"), [("", True), ("info", True), ("WARNING", False)])
def test_the_story_of_a_build_is_told_from_info_on(tmp_path, level, is_told):
    chosen = {"LOG_LEVEL": level} if level else {}
    result = settings_of(tmp_path, "shell", "--no-imports", "--command", TELL, **chosen)
    assert result.returncode == 0, result.stderr
    assert ("event=ended build=12" in result.stderr) == is_told


def test_an_unknown_level_is_refused_with_those_there_are(tmp_path):
    result = settings_of(tmp_path, "check", LOG_LEVEL="LOUD")
    assert result.returncode != 0
    assert "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'" in (
        result.stderr
    )
    assert "Traceback" not in result.stderr
