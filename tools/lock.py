"""Write requirements/{runtime,dev,bench}.txt: every package pinned, with the hashes of all files.

`make lock` runs this; `make lock ARGS=--upgrade` takes newer versions. The inputs stand in
pyproject.toml. No package host is written into the locks; to resolve through another one, set
PIP_INDEX_URL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"

# redis needs it on Python 3.11.0 to 3.11.2 only; a lock made on a newer Python would leave it out.
ALWAYS = ["async-timeout>=4.0.3"]

# What a lock has in common with these is pinned alike, so that it can be installed beside them.
MADE_BEFORE = {"runtime": (), "dev": ("runtime",), "bench": ("runtime", "dev")}

HEADER = "# Made by 'make lock' from pyproject.toml: change that file, then make this anew.\n"
OPTIONS = [
    "--generate-hashes",
    "--strip-extras",
    "--allow-unsafe",  # setuptools, the build backend, is locked as well
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
    "--no-config",
    "--quiet",
]


def inputs() -> dict[str, list[str]]:
    """Return the requirements of each lock; dev holds runtime's too, bench comes on top of dev."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = [*project["build-system"]["requires"], *project["project"]["dependencies"], *ALWAYS]
    return {
        "runtime": runtime,
        "dev": [*runtime, *project["dependency-groups"]["dev"]],
        "bench": project["project"]["optional-dependencies"]["bench"],
    }


def environment() -> dict[str, str]:
    """Return the environment without the machine's own package folders.

    A lock must hold the hashes that the index publishes, not those of files that lie here.
    """
    dropped = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    return env | {"PIP_CONFIG_FILE": os.devnull}


def compile_lock(name: str, requirements: list[str], arguments: list[str]) -> None:
    """Write one lock, keeping what it pins unless `arguments` ask for newer versions.

    Raises CalledProcessError when the requirements can't be resolved.
    """
    target = FOLDER / f"{name}.txt"
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *arguments]
    for other in MADE_BEFORE[name]:
        command += ["--constraint", f"requirements/{other}.txt"]
    command += ["--output-file", str(target.relative_to(ROOT)), "-"]
    text = "\n".join(requirements) + "\n"
    subprocess.run(command, cwd=ROOT, env=environment(), input=text, text=True, check=True)
    made = target.read_text(encoding="utf-8").replace("-r -", "pyproject.toml")
    target.write_text(HEADER + made, encoding="utf-8")


def main() -> int:
    """Write the locks and return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    for name, requirements in inputs().items():
        try:
            compile_lock(name, requirements, sys.argv[1:])
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"requirements/{name}.txt could not be made (see above)\n")
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
