# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two real hosts on this machine: containers with systemd as PID 1, their own bus, polkit and network, joined by a veth pair, with
migd installed as a package would.

    with Stage(build) as stage:          # build: a folder configured with INSTALL_SWITCHES
        stage.a.run("systemctl", "start", "migd")

The root file system is made once per recipe and kept in a cache folder. Every run has names of its own, and ends what it began by pid.
"""
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from cgroup import Cgroup  # noqa: E402
from judging import Failed, Skipped, expect, wait_for  # noqa: E402

PACKAGES = ("systemd systemd-sysv dbus polkitd iproute2 procps kmod bash-completion man-db "
            "libevent-core-2.1-7 libevent-extra-2.1-7 libjson-c5 libxxhash0 libzstd1 liblz4-1 libinih1 libssl3 libxml2 libnuma1 nftables openssh-server openssh-client")
INSTALL_SWITCHES = ["--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--runstatedir=/run"]


def recipe(packages, *more):
    return ["--variant=minbase", "--include=" + packages.replace(" ", ","), *more, "bookworm"]


def tool(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def check_machine():
    if os.geteuid() != 0:
        raise Skipped("two hosts need root")
    for name, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"), ("ip", "iproute2"), ("nsenter", "util-linux")):
        if not shutil.which(name):
            raise Skipped(f"{name} is not here (package {package})")


def make_root(recipe):
    """The folder of the root file system that all hosts share. recipe: what mmdebstrap is told; each has a root of its own."""
    cache = os.path.join(os.environ.get("MIGD_CACHE_DIR") or "/var/cache", "migd-tests")
    os.makedirs(cache, exist_ok=True)
    base = os.path.join(cache, "hosts-" + hashlib.sha256(" ".join(recipe).encode()).hexdigest()[:12])
    with open(base + ".lock", "w", encoding="ascii") as lock:  # one run makes it, another one waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(base + ".ok"):
            return base
        shutil.rmtree(base, ignore_errors=True)
        print(f"# making a root file system in {base}", flush=True)
        done = subprocess.run(["mmdebstrap", "-q", *recipe, base], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped(f"mmdebstrap could not make a root file system: {done.stderr.strip()[-300:]}")
        open(base + ".ok", "w", encoding="ascii").close()
    return base


class Host:
    """One of them. Commands run inside by nsenter, so nothing has to be installed for it."""

    def __init__(self, stage, name, address):
        self.stage, self.name, self.address = stage, name, address
        self.netns = f"migd{stage.number}{name}"
        self.machine = f"migd-{stage.number}-{name}"
        self.nspawn = self.leader = self.folder = self.cgroup = None
        self.mounted = False

    def prepare(self, lowers):
        """lowers: folders, the topmost first. The host may write; it goes with the stage."""
        self.folder = self.stage.path(self.name)
        upper, work, root = (os.path.join(self.folder, d) for d in ("upper", "work", "root"))
        for d in (upper, work, root):
            os.makedirs(d)
        try:
            tool("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}", root)
        except subprocess.CalledProcessError as e:
            raise Skipped(f"an overlay cannot be mounted here: {e.stderr.strip()[-200:]}") from None
        self.mounted = True
        self.write("/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{h.address} {h.name}\n" for h in self.stage.hosts))
        self.write("/etc/hostname", self.name + "\n")

    def host_path(self, path):
        """A path of this host as it is seen from outside."""
        return os.path.join(self.folder, "root", path.lstrip("/"))

    def write(self, path, text, mode=0o644):
        """Before the boot from outside, after it from inside."""
        if self.leader:
            subprocess.run(self.enter("sh", "-c", f"mkdir -p {os.path.dirname(path)}; cat > {path}; chmod {mode:o} {path}"), input=text, text=True, check=True)
            return
        path = self.host_path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)

    def boot(self):
        os.makedirs("/run/systemd", exist_ok=True)  # nspawn wants it where systemd is not PID 1
        self.cgroup = Cgroup(self.machine)
        with open(self.stage.path(self.name + ".console"), "wb") as log:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", os.path.join(self.folder, "root"), "--machine=" + self.machine,
                 "--network-namespace-path=/run/netns/" + self.netns, "--system-call-filter=pidfd_getfd", "-b"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=self.cgroup.enter)

        def find_leader():
            expect(self.nspawn.poll() is None, f"{self.name} did not boot: {self.console()[-400:]}")
            with open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children", encoding="ascii") as f:
                children = f.read().split()
            for child in children:  # first there is another one, which makes the namespaces
                try:
                    with open(f"/proc/{child}/comm", encoding="ascii") as f:
                        if f.read().strip() == "systemd":
                            return int(child)
                except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    continue
            return 0
        self.leader = wait_for(f"{self.name} has a PID 1", find_leader)
        try:
            wait_for(f"{self.name} is up", lambda: self.try_run("systemctl", "is-system-running")[1].strip() in ("running", "degraded"))
        except Failed as e:
            raise Failed(f"{e}: {self.console()[-600:]}") from None

    def console(self):
        with open(self.stage.path(self.name + ".console"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def enter(self, *argv):
        return ["nsenter", "-t", str(self.leader), "-a", "--"] + list(argv)

    def try_run(self, *argv, seconds=180.0, user=None):
        """(exit status, output, errors)."""
        if user:
            argv = ("setpriv", "--reuid", user, "--regid", user, "--init-groups") + argv
        try:
            done = subprocess.run(self.enter(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: {' '.join(argv)} did not end within {seconds:g} s") from None
        with open(self.stage.path("commands.log"), "a", encoding="utf-8") as f:
            f.write(f"--- {self.name}: {' '.join(argv)} -> {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def run(self, *argv, **keys):
        code, out, errors = self.try_run(*argv, **keys)
        expect(code == 0, f"{self.name}: {' '.join(argv)}: exit {code}: {(errors or out).strip()[-400:]}")
        return out

    def start(self, name, *argv):
        """A process that goes on beside, as a unit of this name; its output is NAME.out on the stage."""
        self.run("mkdir", "-p", "/run/stage")
        self.run("systemd-run", "-q", "--unit=" + name, "--collect", f"--property=StandardOutput=append:/run/stage/{name}.out",
                 f"--property=StandardError=append:/run/stage/{name}.out", *argv)

    def alive(self, name):
        return self.try_run("systemctl", "is-active", "-q", name)[0] == 0

    def stop(self, name, signal_name=None):
        if signal_name:
            self.run("systemctl", "kill", "-s", signal_name, name)
        self.try_run("systemctl", "stop", name)

    def output(self, name):
        return self.try_run("cat", f"/run/stage/{name}.out")[1]

    def unit_property(self, name, unit="migd.service"):
        return self.run("systemctl", "show", "-P", name, unit).strip()

    def journal(self, *matches):
        return self.run("journalctl", "-q", "--no-pager", "-o", "cat", *matches)

    def cut(self, cut=True):
        tool("ip", "-n", self.netns, "link", "set", "eth0", "down" if cut else "up")

    def end(self):
        """Off in good order, or else at once: how long it takes judges nothing."""
        if self.leader:
            try:
                subprocess.run(self.enter("systemctl", "poweroff", "--force", "--no-wall"), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
            except subprocess.TimeoutExpired:
                pass
        if self.nspawn:
            try:
                self.nspawn.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.nspawn.pid, signal.SIGKILL)
                self.nspawn.wait()
        if self.cgroup:
            self.cgroup.remove()
        if self.mounted:
            subprocess.run(["umount", "-l", os.path.join(self.folder, "root")], check=False)


class Stage:
    recipe = recipe(PACKAGES)
    _next = 0

    def __init__(self, build, keep=None, bare=False):
        """bare: hosts on which migd is not installed."""
        check_machine()
        self.build, self.keep, self.bare = build, keep, bare
        Stage._next += 1
        self.number = f"{os.getpid()}{Stage._next}"[-7:]
        self.folder = None
        self.a, self.b = Host(self, "hosta", "10.77.0.1"), Host(self, "hostb", "10.77.0.2")
        self.hosts = [self.a, self.b]

    def path(self, name):
        return os.path.join(self.folder, name)

    def install(self):
        """make install into a folder that both hosts see below their own."""
        target = self.path("installed")
        done = subprocess.run(["make", "-s", "-C", self.build, "install", "DESTDIR=" + target], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"make install: {done.stderr[-400:]}")
        # In the root /lib and /sbin lead into /usr, and so must what is installed.
        expect(sorted(os.listdir(target)) in (["etc", "usr"], ["etc", "usr", "var"]), f"make install writes into {os.listdir(target)}")
        return target

    def network(self):
        tool("ip", "link", "add", f"va{self.number}", "type", "veth", "peer", "name", f"vb{self.number}")
        for host, link in zip(self.hosts, (f"va{self.number}", f"vb{self.number}")):
            try:
                tool("ip", "netns", "add", host.netns)
            except subprocess.CalledProcessError as e:
                raise Skipped(f"network namespaces cannot be made here: {e.stderr.strip()[-200:]}") from None
            tool("ip", "link", "set", link, "netns", host.netns, "name", "eth0")
            tool("ip", "-n", host.netns, "addr", "add", host.address + "/24", "dev", "eth0")
            tool("ip", "-n", host.netns, "link", "set", "eth0", "up")
            tool("ip", "-n", host.netns, "link", "set", "lo", "up")

    def __enter__(self):
        base = make_root(self.recipe)
        # Not on an overlay, which cannot be the upper folder of another one.
        self.folder = tempfile.mkdtemp(prefix="stage.", dir=os.path.dirname(base))
        try:
            lowers = [base] if self.bare else [self.install(), base]
            self.network()
            for host in self.hosts:
                host.prepare(lowers)
                if not self.bare:
                    self.configure(host)
            for host in self.hosts:
                host.boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def configure(self, host):
        """What every host gets before it boots."""
        host.write("/etc/migd/migd.conf", f"[Peer]\nListen={host.address}\nSecurity=plain\n")
        self.equip(host)

    def equip(self, host):
        """The example VMM, which is not installed; on these hosts it owns a name of the system bus."""
        os.makedirs(host.host_path("/usr/local/bin"), exist_ok=True)
        for program in ("migd-example-vmm", "simdev-check"):
            shutil.copy(os.path.join(self.build, program), host.host_path("/usr/local/bin"))
        host.write("/etc/dbus-1/system.d/example.conf", """<busconfig><policy user="root"><allow own_prefix="org.migd.Example"/></policy>
<policy context="default"><allow send_destination="*" send_interface="org.freedesktop.DBus.Properties"/></policy></busconfig>
""")

    def __exit__(self, kind, value, trace):
        for host in self.hosts if kind and self.keep else []:
            if host.leader:
                with open(self.path(f"{host.name}.log"), "w", encoding="utf-8") as f:
                    f.write(host.try_run("sh", "-c", "journalctl -q --no-pager -o short-precise; tail -n 40 /run/stage/*.out; migctl list; migctl show demo")[1])
        for host in self.hosts:
            host.end()
            subprocess.run(["ip", "netns", "del", host.netns], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", f"va{self.number}"], capture_output=True, check=False)
        if kind and self.keep:
            for name in os.listdir(self.folder):
                if name.endswith((".out", ".log", ".console")):
                    os.makedirs(self.keep, exist_ok=True)
                    shutil.copy(self.path(name), self.keep)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False
