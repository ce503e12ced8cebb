"""Puts libqwen.so into the package and marks the wheel for this platform; see pyproject.toml.

The library comes from the path in LIBQWEN_LIBRARY, else from `.build/release` or `build` of the
repository around this folder. LIBQWEN_LIBRARY=none makes a wheel without it, for distributions that
install the library themselves.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Optional

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
FOLDERS = [HERE / "../../.build/release", HERE / "../../build"]


def find_library() -> Optional[Path]:
    """The library to put in, or None if none is wanted.

    Raises:
        SystemExit: it is not where it should be.
    """
    named = os.environ.get("LIBQWEN_LIBRARY")
    if named == "none":
        return None
    for path in [Path(named)] if named else [folder / "libqwen.so" for folder in FOLDERS]:
        if path.is_file():
            return path.resolve()
    places = named or " or ".join(str(folder.resolve()) for folder in FOLDERS)
    raise SystemExit(
        f"libqwen.so is not in {places}; build it with `swift build -c release`, "
        "or set LIBQWEN_LIBRARY to its path"
    )


class BuildWithLibrary(build_py):  # type: ignore[misc]
    """Copies the library beside the modules. An editable install leaves it where it is."""

    def run(self) -> None:
        """Builds, then copies."""
        super().run()
        if self.editable_mode:
            return
        library = find_library()
        if library is not None:
            shutil.copy2(library, Path(self.build_lib) / "libqwen" / "libqwen.so")


class PlatformWheel(bdist_wheel):  # type: ignore[misc]
    """Any Python 3, this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """The tag, as py3-none-linux_x86_64."""
        return "py3", "none", super().get_tag()[2]


class WithMachineCode(Distribution):  # type: ignore[misc]
    """Says that the wheel holds machine code, if it does."""

    def has_ext_modules(self) -> bool:
        """Whether the library goes in."""
        return os.environ.get("LIBQWEN_LIBRARY") != "none"


setup(
    distclass=WithMachineCode,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
)
