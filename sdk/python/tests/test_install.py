"""A real `pip install` into a new virtual environment, without network: the `.pth` file alone must do."""

import os
import shutil
import subprocess
import sys
import unittest

from agent import PACKAGE, Case

import botocore

try:
    import setuptools  # noqa: F401
    import wheel  # noqa: F401
except ImportError:
    setuptools = None


@unittest.skipIf(setuptools is None, "setuptools and wheel are not installed here, and pip must not fetch it")
class Install(Case):
    def run_in(self, *command, **environ):
        env = dict(os.environ, ROLECALL_CALLS_SOCKET=self.path, PIP_DISABLE_PIP_VERSION_CHECK="1", **environ)
        env.pop("PYTHONPATH", None)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder, timeout=50)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return done.stdout.decode()

    def test_after_pip_install_an_unmodified_program_is_told_of(self):
        source, venv = os.path.join(self.folder, "source"), os.path.join(self.folder, "venv")
        shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests"))
        self.run_in(sys.executable, "-m", "venv", "--without-pip", venv)
        python = os.path.join(venv, "bin", "python")
        packages = os.path.dirname(os.path.dirname(os.path.abspath(botocore.__file__)))
        target = self.run_in(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # Two steps, for the new environment has no setuptools to build with.
        self.run_in(sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w", "wheels",
                    source)  # fmt: skip
        (built,) = os.listdir(os.path.join(self.folder, "wheels"))
        self.run_in(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", os.path.join("wheels", built))
        self.assertTrue(os.path.exists(os.path.join(target, "rolecall_shim.pth")))
        agent = self.agent()
        program = "import sys; sys.path.append(%r); import botocore.session; c = botocore.session.get_session().create_client('sts', endpoint_url='http://127.0.0.1:9')\n"
        program += "try: c.get_caller_identity()\nexcept Exception as e: print(type(e).__name__)"
        self.assertIn("EndpointConnectionError", self.run_in(python, "-c", program % packages, AWS_MAX_ATTEMPTS="1"))
        agent.wait(lambda: agent.of("Bye"))
        self.assertEqual(agent.of("ApiCall")[0]["FinalSdkException"], "EndpointConnectionError")
        self.run_in(sys.executable, "-m", "pip", "--python", python, "uninstall", "-y", "rolecall-shim")
        self.assertFalse(os.path.exists(os.path.join(target, "rolecall_shim.pth")))
