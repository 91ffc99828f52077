# SPDX-License-Identifier: LGPL-2.1-or-later
"""migd from its Debian package: installed, used, upgraded while it holds domains and while one of them migrates, removed, purged.

MIGD_PACKAGES: a folder with packages that contrib/make-packages made; without it they are made once for all cases of a run."""
import functools
import glob
import json
import os
import shutil
import subprocess
import tempfile

from cases_service import scrape
from faults import settle
from stage import Skipped, expect, wait_for
from workload import Workload

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def named(folder):
    return {os.path.basename(path).split("_")[0]: path for path in glob.glob(os.path.join(folder, "*.deb"))}


@functools.cache
def folder_for_packages():
    return tempfile.TemporaryDirectory(prefix="migd-packages.")  # goes with the process


@functools.cache
def make_packages():
    """{name: path} of what contrib/make-packages made."""
    if os.environ.get("MIGD_PACKAGES"):
        return named(os.environ["MIGD_PACKAGES"])
    folder = folder_for_packages().name
    for tool in ("dpkg-buildpackage", "dh"):
        if not shutil.which(tool):
            raise Skipped(f"{tool} is not here (packages dpkg-dev, debhelper)")
    done = subprocess.run([os.path.join(SOURCE, "contrib", "make-packages"), "--output", folder], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=500, check=False)
    expect(done.returncode == 0, f"contrib/make-packages: exit {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return named(folder)


def newer(path, folder, version):
    """The same package with another version."""
    tree = os.path.join(folder, "unpacked-" + version)
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


def no_units(host):
    units = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "migd*").splitlines()
    # A name that somebody still points at is listed for a while, as "not-found inactive dead".
    expect(all("not-found inactive dead" in u for u in units), f"{host.name}: a unit of migd is left: {units}")


def case_package(stage):
    host = stage.a
    packages = make_packages()
    second = newer(packages["migd"], stage.path(""), "99.0")
    before = files(host)
    for path in (packages["migd"], packages["migd-simdev"], second):
        shutil.copy(path, host.host_path("/root"))
    host.run("dpkg", "-i", "/root/" + os.path.basename(packages["migd"]), "/root/" + os.path.basename(packages["migd-simdev"]), seconds=300)
    host.run("systemctl", "start", "migd")
    expect("Documentation: man:migd(8)" in host.run("journalctl", "--dump-catalog"), "the journal's catalog does not know migd after the installation")
    expect(host.unit_property("UnitFileState") == "enabled", f"the service is {host.unit_property('UnitFileState')} after the installation")
    host.run("simdev", "--version")
    host.run("man", "-w", "migctl")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M")
    host.run("sh", "-c", f"printf 'still here' | dd of={memory_of(host)} bs=1 seek=4096 conv=notrunc 2>/dev/null")

    # An upgrade is a restart: the service manager keeps the descriptors.
    pid = host.unit_property("MainPID")
    host.run("dpkg", "-i", "/root/" + os.path.basename(second), seconds=300)
    wait_for("migd started again by the upgrade", lambda: host.unit_property("MainPID") not in ("0", pid) and host.unit_property("ActiveState") == "active")
    shown = json.loads(host.run("migctl", "--json", "show", "demo"))
    expect(shown["State"] == "running" and not shown["Problem"], f"after the upgrade the domain is {shown['State']}: {shown['Problem']}")
    text = host.run("sh", "-c", f"dd if={memory_of(host)} bs=1 skip=4096 count=10 2>/dev/null")
    expect(text == "still here", f"after the upgrade memory holds {text!r}")

    host.write("/etc/migd/migd.conf.d/10.conf", "[Migration]\nMaxDowntime=40ms\n")
    host.run("dpkg", "-r", "migd", seconds=300)
    expect(host.try_run("pgrep", "-x", "migd")[0] != 0, "migd runs on after its package was removed")
    expect(host.try_run("test", "-e", "/etc/migd/migd.conf")[0] == 0, "the configuration went with the package, not with purge")
    host.run("dpkg", "-P", "migd", "migd-simdev", seconds=300)
    left = sorted(files(host) - before)
    expect(not left, f"purge leaves {' '.join(left[:20])}")
    expect(not sorted(before - files(host)), f"purge removed {sorted(before - files(host))[:10]}")
    no_units(host)


case_package.bare = True


def kept(host, name):
    """What must be the same before and after an upgrade: all that the domain is made of, and what the service manager keeps of it."""
    shown = json.loads(host.run("migctl", "--json", "show", name))
    expect(shown["State"] == "running" and not shown["Problem"], f"{name} is {shown['State']}: {shown['Problem']}")
    parts = {key: shown[key] for key in ("Name", "Incoming", "Memory", "Devices", "Containers", "Opened", "Controller")}
    parts["Trackers"] = [{key: t[key] for key in ("name", "kind", "device", "blind")} for t in shown["Trackers"]]  # what they counted begins anew
    return parts, host.unit_property("NFileDescriptorStore")


def upgrade(host, package):
    pid = host.unit_property("MainPID")
    shutil.copy(package, host.host_path("/root"))
    host.run("dpkg", "-i", "/root/" + os.path.basename(package), seconds=300)
    wait_for("migd started again by the upgrade", lambda: host.unit_property("MainPID") not in ("0", pid) and host.unit_property("ActiveState") == "active")


def phase(host):
    """Of the one migration that runs there; "" when none does."""
    found = [m["Phase"] for m in json.loads(host.run("migctl", "--json", "list", "migrations"))["migrations"] if m["State"] == "running"]
    return found[0] if found else ""


def judge_kept(host, before, name):
    after = wait_for("the domain after the upgrade", lambda: host.try_run("migctl", "show", name)[0] == 0 and kept(host, name))
    expect(after == before, f"{name} before the upgrade: {before}, after it: {after}")


def install(stage, host, packages):
    """As an administrator would; the VMM, which no package has, comes from the build. The files that were there before migd."""
    stage.equip(host)
    host.run("systemctl", "reload", "dbus")
    before = files(host)
    for name in ("migd", "migd-simdev"):
        shutil.copy(packages[name], host.host_path("/root"))
    host.run("sh", "-c", "dpkg -i /root/*.deb", seconds=300)
    host.write("/etc/migd/migd.conf", f"[Peer]\nListen={host.address}\nSecurity=plain\n")
    host.run("systemctl", "restart", "migd")
    return before


def case_packages_on_two_hosts(stage):
    """Installed on both hosts, a domain with a device goes there and back. Upgraded while the domain is registered, and while it migrates, the host
    loses nothing, and a migration afterwards completes. Metrics by the socket. Purged, also with a domain still there, nothing is left."""
    a, b = stage.hosts
    packages = make_packages()
    versions = [newer(packages["migd"], stage.path(""), version) for version in ("98.0", "99.0")]
    before = {host: install(stage, host, packages) for host in stage.hosts}
    expect(a.try_run("systemctl", "start", "migd-metrics.socket")[0] != 0, "a socket unit starts beside its service: doc/metrics.md says otherwise")
    a.run("systemctl", "stop", "migd")
    a.run("systemctl", "enable", "--now", "migd-metrics.socket")
    w = Workload(stage, track="uffd")
    w.place(a)
    w.place(b, incoming=True)
    w.migrate(a, b, "--verify")
    w.remove(a)
    w.place(a, incoming=True)
    w.migrate(b, a, "--verify")
    w.remove(b)
    w.place(b, incoming=True)

    text = scrape(a)
    expect(text.startswith("HTTP/1.1 200") and 'migd_domains{state="running"} 1' in text, f"a scrape says {text[:300]}")

    was = kept(a, w.name)
    expect(int(was[1]) >= 2 and was[0]["Devices"] and was[0]["Trackers"], f"there is not enough to keep: {was}")
    upgrade(a, versions[0])
    judge_kept(a, was, w.name)
    expect(scrape(a).startswith("HTTP/1.1 200"), "no metrics after the upgrade")

    a.start("slow", "migctl", "start", w.name, b.name, "--bandwidth", "20M", "--max-downtime", "1ms", "--on-stall", "wait")
    wait_for("precopy", lambda: phase(a) == "precopy", step=0.2)
    upgrade(a, versions[1])
    wait_for("migctl ended", lambda: not a.alive("slow"))
    runs = settle(w, stage.hosts, "upgraded in precopy")
    expect(runs is a, "it went over to the other host")
    judge_kept(a, was, w.name)
    w.migrate(a, b, "--verify")

    # At B the domain is still registered, and its socket for metrics was never enabled.
    w.remove(a)
    for host in stage.hosts:
        host.run("dpkg", "-P", "migd", "migd-simdev", seconds=300)
        left = sorted(files(host) - before[host])
        expect(not left, f"{host.name}: purge leaves {' '.join(left[:20])}")
        no_units(host)


case_packages_on_two_hosts.bare = True
