"""Puts `rolecall_shim.pth` beside the package: setuptools has no declarative way to install a file at the root."""

import os

from setuptools import setup
from setuptools.command.build_py import build_py

PTH = "rolecall_shim.pth"


class BuildWithPth(build_py):
    def run(self):
        super().run()
        self.copy_file(PTH, os.path.join(self.build_lib, PTH), preserve_mode=0)

    def get_outputs(self, include_bytecode=1):
        return super().get_outputs(include_bytecode) + [os.path.join(self.build_lib, PTH)]


setup(cmdclass={"build_py": BuildWithPth})
