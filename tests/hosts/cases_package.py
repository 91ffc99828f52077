# SPDX-License-Identifier: LGPL-2.1-or-later
"""migd from its Debian package: installed, used, upgraded while it holds a domain, removed, purged."""
import glob
import json
import os
import shutil
import subprocess

from stage import Skipped, expect, wait_for

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def make_packages(folder):
    """{name: path} of what contrib/make-packages made."""
    for tool in ("dpkg-buildpackage", "dh"):
        if not shutil.which(tool):
            raise Skipped(f"{tool} is not here (packages dpkg-dev, debhelper)")
    done = subprocess.run([os.path.join(SOURCE, "contrib", "make-packages"), "--output", folder], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=500, check=False)
    expect(done.returncode == 0, f"contrib/make-packages: exit {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return {os.path.basename(path).split("_")[0]: path for path in glob.glob(os.path.join(folder, "*.deb"))}


def newer(path, folder, version):
    """The same package with another version."""
    tree = os.path.join(folder, "unpacked")
    subprocess.run(["dpkg-deb", "-R", path, tree], check=True, capture_output=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as f:
        lines = [f"Version: {version}" if line.startswith("Version:") else line for line in f.read().splitlines()]
    with open(control, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    made = os.path.join(folder, f"migd_{version}_other.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, made], check=True, capture_output=True)
    return made


def files(host):
    """What package managers and caches keep for themselves aside."""
    aside = [word for path in ("/var/lib/dpkg/*", "/var/log/*", "/var/cache/*", "/var/lib/systemd/*", "/var/tmp/*") for word in ("-not", "-path", path)]
    out = host.run("find", "/etc", "/usr", "/var", "-xdev", *aside) + host.run("find", "/run", "-maxdepth", "1", "-name", "migd*")
    return set(out.splitlines())


def memory_of(host):
    pid = host.unit_property("MainPID")
    return host.run("sh", "-c", f"for f in /proc/{pid}/fd/*; do case $(readlink $f) in /memfd:*ram0*) echo $f; break;; esac; done").strip()


def case_package(stage):
    host = stage.a
    packages = make_packages(stage.path(""))
    second = newer(packages["migd"], stage.path(""), "99.0")
    before = files(host)
    for path in (packages["migd"], packages["migd-simdev"], second):
        shutil.copy(path, host.host_path("/root"))
    host.run("dpkg", "-i", "/root/" + os.path.basename(packages["migd"]), "/root/" + os.path.basename(packages["migd-simdev"]), seconds=120)
    host.run("systemctl", "start", "migd")
    expect("Documentation: man:migd(8)" in host.run("journalctl", "--dump-catalog"), "the journal's catalog does not know migd after the installation")
    expect(host.unit_property("UnitFileState") == "enabled", f"the service is {host.unit_property('UnitFileState')} after the installation")
    host.run("simdev", "--version")
    host.run("man", "-w", "migctl")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M")
    host.run("sh", "-c", f"printf 'still here' | dd of={memory_of(host)} bs=1 seek=4096 conv=notrunc 2>/dev/null")

    # An upgrade is a restart: the service manager keeps the descriptors.
    pid = host.unit_property("MainPID")
    host.run("dpkg", "-i", "/root/" + os.path.basename(second), seconds=120)
    wait_for("migd started again by the upgrade", lambda: host.unit_property("MainPID") not in ("0", pid) and host.unit_property("ActiveState") == "active")
    shown = json.loads(host.run("migctl", "--json", "show", "demo"))
    expect(shown["State"] == "running" and not shown["Problem"], f"after the upgrade the domain is {shown['State']}: {shown['Problem']}")
    text = host.run("sh", "-c", f"dd if={memory_of(host)} bs=1 skip=4096 count=10 2>/dev/null")
    expect(text == "still here", f"after the upgrade memory holds {text!r}")

    host.write("/etc/migd/migd.conf.d/10.conf", "[Migration]\nMaxDowntime=40ms\n")
    host.run("dpkg", "-r", "migd", seconds=120)
    expect(host.try_run("pgrep", "-x", "migd")[0] != 0, "migd runs on after its package was removed")
    expect(host.try_run("test", "-e", "/etc/migd/migd.conf")[0] == 0, "the configuration went with the package, not with purge")
    host.run("dpkg", "-P", "migd", "migd-simdev", seconds=120)
    left = sorted(files(host) - before)
    expect(not left, f"purge leaves {' '.join(left[:20])}")
    expect(not sorted(before - files(host)), f"purge removed {sorted(before - files(host))[:10]}")
    expect("migd" not in host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "migd*"), "a unit of migd is left")


case_package.bare = True
