#!/usr/bin/env python3
"""Make a virtual environment with pip in it, quickly: ``environment.py FOLDER``.

Python carries a wheel of pip for this purpose. ``python3 -m venv`` starts that pip to install itself, which takes longer than all the rest of the environment;
a wheel is a zip file of what belongs in site-packages, so here it is unpacked. Where there is no such wheel, the system's own pip installs another.
"""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path


def bundled_pip() -> Path | None:
    """Return the wheel that ``ensurepip`` would install: Python's own place for it, or where a distribution keeps it."""
    stdlib = sysconfig.get_path("stdlib")
    folders = (sysconfig.get_config_var("WHEEL_PKG_DIR"), f"{stdlib}/ensurepip/_bundled", "/usr/share/python-wheels")
    wheels = (wheel for folder in folders if folder for wheel in sorted(Path(folder).glob("pip-*.whl")))
    return next(wheels, None)


def make(folder: Path) -> None:
    """Make the environment; half of one is not left behind."""
    try:
        venv.create(folder, symlinks=True)
        python = folder / "bin/python"
        wheel = bundled_pip()
        if wheel is None:
            install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
            subprocess.run(install, check=True)  # noqa: S603 - our own words
            return
        where = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(where)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def main() -> None:
    """Say what is missing, rather than where it was missed."""
    try:
        make(Path(sys.argv[1]))
    except subprocess.CalledProcessError:
        sys.exit("Python cannot make an environment with pip here: sudo apt-get install python3-venv")


if __name__ == "__main__":
    main()
