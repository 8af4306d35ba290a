"""Values as YAML to look at."""

from jobs import yaml_text


def test_a_text_of_one_line_and_its_end_is_a_block() -> None:
    assert yaml_text.to_yaml({"notes": "Só.\n"}) == "notes: |\n  Só.\n"
