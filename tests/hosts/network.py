# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network between two hosts that breaks, in each of the ways in which networks do."""
import subprocess

from stage import expect, tool

PORT = 16509  # migd's


class Network:
    """Breaks the network of a host, in its own namespace, from outside."""

    def __init__(self, host):
        self.host = host

    def nft(self, rules):
        subprocess.run(["ip", "netns", "exec", self.host.netns, "nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)

    def rules(self, there, back):
        self.nft("table inet cut {\n"
                 f"chain out {{ type filter hook output priority 0; {there} }}\n"
                 f"chain in {{ type filter hook input priority 0; {back} }}\n}}\n")

    def cut(self, kind):
        """For the source's host: there and back are seen from it."""
        port = f"tcp dport {PORT}", f"tcp sport {PORT}"
        if kind == "both":
            self.rules("oifname eth0 drop;", "iifname eth0 drop;")
        elif kind == "there":
            self.rules("oifname eth0 drop;", "")
        elif kind == "back":
            self.rules("", "iifname eth0 drop;")
        elif kind == "reset":  # also for who tries to connect
            through = "tcp flags & rst == rst accept; "
            self.rules(f"{through}{port[0]} reject with tcp reset;", f"{through}{port[1]} reject with tcp reset;")
        elif kind == "half-open":  # something between the hosts has forgotten these connections, and only these
            text = tool("ip", "netns", "exec", self.host.netns, "ss", "-Htn", "dport", f"= :{PORT}")
            ports = ", ".join(line.split()[3].rpartition(":")[2] for line in text.splitlines())
            expect(ports, "there is no connection to forget")
            self.rules(f"tcp dport {PORT} tcp sport {{ {ports} }} drop;", f"tcp sport {PORT} tcp dport {{ {ports} }} drop;")
        elif kind == "link":
            self.host.cut()

    def refuse(self, ports):
        """Nothing gets through to these ports of the other host."""
        self.rules(f"oifname eth0 tcp dport {ports} drop;", "")

    def connects(self, ports):
        """Whether somebody tries to connect to one of them just now."""
        first, _, last = ports.partition("-")
        return bool(tool("ip", "netns", "exec", self.host.netns, "ss", "-Htn", "state", "syn-sent", f"( dport >= :{first} and dport <= :{last} )").strip())

    def mend(self, kind):
        if kind == "link":
            self.host.cut(False)
        else:
            subprocess.run(["ip", "netns", "exec", self.host.netns, "nft", "delete table inet cut"], check=False, capture_output=True)
