# SPDX-License-Identifier: Apache-2.0
"""Runs vanctl against a Console, as its administrator unless told otherwise."""
import os
import subprocess

from consoletest import BUILD, eq

VANCTL = os.path.join(BUILD, "vanctl", "vanctl")


def environment(c, **more):
    """What vanctl needs of the environment to be logged in to the console."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("VAN")}
    keep.update(XDG_CONFIG_HOME=c.dir, HOME=c.dir, VAN_CONSOLE=f"https://127.0.0.1:{c.port}",
                VAN_KEY_FILE=os.path.join(c.state_dir, "admin.key"),
                VAN_PIN=c.state("tls.pin").strip())
    keep.update(more)
    return keep


def run(c, words, stdin=None, **env):
    """Runs vanctl with these words; what subprocess.run() gives."""
    ran = subprocess.run([VANCTL, *words], env=environment(c, **env), input=stdin,
                         capture_output=True, text=True, timeout=60, check=False)
    for bad in ("Sanitizer", "runtime error"):
        assert bad not in ran.stderr, ran.stderr
    return ran


def vanctl(c, line, status=0, stdin=None):
    """Runs the line; what it printed: on standard error where another status than 0 is expected."""
    ran = run(c, line.split(), stdin)
    eq(ran.returncode, status, f"vanctl {line}: {ran.stderr}")
    return ran.stdout if status == 0 else ran.stderr
