# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the journal says: fields, ids, the catalog, and how much."""
import json
import os
import re

from stage import expect, wait_for
from workload import Workload


def lines(host, *matches):
    text = host.run("journalctl", "-q", "--no-pager", "-o", "json", "-u", "migd", *matches)
    return [json.loads(line) for line in text.splitlines()]


def message_id(name):
    """From the table that the catalog is made from."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/migd-messages.h"), encoding="utf-8") as f:
        return re.search(rf'X\(MESSAGE_{name}, "([0-9a-f]{{32}})"', f.read()).group(1)


def case_journal(stage):
    """A migration that fails and one that completes are found by id and by field, on both hosts; journalctl -x says what to do."""
    for host in stage.hosts:
        host.run("systemctl", "start", "migd")
        host.run("journalctl", "--update-catalog")
    w = Workload(stage)
    w.place(stage.a)
    code, _, _ = w.migrate(stage.a, stage.b, check=False)  # it is not registered there
    expect(code != 0, "a migration to a host that does not know the domain did not fail")
    (failed,) = lines(stage.a, "MESSAGE_ID=" + message_id("MIGRATION_FAILED"))
    expect(failed["MIGD_DOMAIN"] == w.name and failed["MIGD_PEER"] == "hostb" and failed["PRIORITY"] == "3", f"fields: {failed}")
    expect(failed["MIGD_ERROR"] and int(failed["ERRNO"]) > 0 and failed["MIGD_PHASE"] and len(failed["MIGD_MIGRATION"]) == 32, f"fields: {failed}")
    told = " ".join(stage.a.run("journalctl", "-q", "-x", "--no-pager", "MIGD_MIGRATION=" + failed["MIGD_MIGRATION"]).replace("░░", "").split())
    expect("A migration has failed" in told and f"migctl check {w.name}" in told, f"the catalog does not say what to do: {told[-600:]}")
    expect("@MIGD" not in told, f"a field of the catalog is not in the line: {told[-600:]}")
    expect(lines(stage.b, "MESSAGE_ID=" + message_id("PEER_REFUSED")), "the destination does not say that it refused somebody")

    w.place(stage.b, incoming=True)
    w.migrate(stage.a, stage.b, "--verify")
    for host in stage.hosts:
        for name in ("MIGRATION_BEGUN", "MIGRATION_COMPLETED"):
            found = lines(host, "MESSAGE_ID=" + message_id(name))
            expect([x["MIGD_DOMAIN"] for x in found][-1:] == [w.name] and found[-1]["MIGD_PEER"], f"{host.name}: {name}: {found}")
        expect(lines(host, "MESSAGE_ID=" + message_id("DOMAIN_REGISTERED"), f"MIGD_DOMAIN={w.name}"), f"{host.name}: nothing about the registration")
    ids = {name: {x["MIGD_MIGRATION"] for x in lines(host, "MESSAGE_ID=" + message_id("MIGRATION_COMPLETED"))} for name, host in (("a", stage.a), ("b", stage.b))}
    expect(ids["a"] == ids["b"], f"the two hosts name the migration differently: {ids}")


def case_audit(stage):
    """Each call that changes something leaves who asked and what was decided; -x names the right that is missing."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    host.run("journalctl", "--update-catalog")
    host.run("migctl", "register", "demo", "--memory", "name=ram0,make,size=4M")
    allowed = lines(host, "MESSAGE_ID=" + message_id("ACCESS_ALLOWED"), "MIGD_CALLER_UID=0")
    expect("org.migd.Migd1.register" in [x["MIGD_ACTION"] for x in allowed], f"root's registration: {allowed}")
    host.run("useradd", "-u", "1234", "someone")
    code, _, _ = host.try_run("migctl", "release", "demo", user="someone")
    expect(code == 4, f"a stranger's release: exit {code}")
    (denied,) = lines(host, "MESSAGE_ID=" + message_id("ACCESS_DENIED"))
    expect(denied["MIGD_CALLER_UID"] == "1234" and denied["MIGD_ACTION"] == "org.migd.Migd1.register", f"fields: {denied}")
    told = host.run("journalctl", "-q", "-x", "--no-pager", "MESSAGE_ID=" + message_id("ACCESS_DENIED"))
    expect("write a rule for polkit" in told and "User 1234" in told, f"the catalog: {told}")


def case_log_level(stage):
    """systemctl service-log-level, which speaks LogControl1."""
    host = stage.a
    host.run("systemctl", "start", "migd")
    expect(host.run("systemctl", "service-log-level", "migd").strip() == "info", "the level is not info")
    host.run("systemctl", "service-log-level", "migd", "debug")
    for each in stage.hosts:
        each.run("systemctl", "start", "migd")
    w = Workload(stage)
    w.place(stage.a)
    w.place(stage.b, incoming=True)
    w.migrate(stage.a, stage.b)
    wait_for("the phases", lambda: {x.get("MIGD_PHASE") for x in lines(host, "PRIORITY=7")} >= {"full-send", "commit", "done"})
    expect(not lines(stage.b, "PRIORITY=7"), "the other host talks of details too")
