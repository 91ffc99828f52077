# SPDX-License-Identifier: LGPL-2.1-or-later
"""A source that comes back after a break, played by the test: with the right key, with a wrong one, too late, twice, and without end."""
import os

import wire
from cases_hostile import SIZE, example_state, rest
from harness import expect, wait_for
from registry import Cases
from wire import FENCE, HELLO, MESSAGE, PAGE, PAGES, STATE, STATE_END, VMM, Frame, compact

CASES = Cases()


class Resuming(wire.Source):
    """One page connection; what it sends is kept, so that the test can judge what the destination says it has."""

    def __init__(self, r, decider):
        super().__init__(r.destination(), "demo", "ram0", SIZE, decider)
        self.hello.update({"connections": 1, "reconnect-timeout": 5000000})
        self.key = self.control = self.pages = self.stream = None

    def begin(self):
        self.control = self.line("control")
        self.control.send(Frame(HELLO, compact(self.hello)))
        answer = self.control.hear()
        expect(len(answer.get("resume-key", "")) == 32, f"no key to resume in {answer}")
        self.key = answer["resume-key"]
        self.attach_all("")

    def join(self, role, key):
        """The answer to a connection that attaches."""
        line = self.line(role)
        line.send(Frame(HELLO, compact(dict({"attach": self.id, "token": self.token, "role": role, "index": 0}, **({"key": key} if key else {})))))
        return line, line.hear()

    def attach_all(self, key):
        (self.pages, a), (self.stream, b) = self.join("pages", key), self.join("state", key)
        expect("ok" in a and "ok" in b, f"not attached: {a}, {b}")

    def round(self, number):
        self.pages.send(Frame(PAGES, os.urandom(2 * PAGE)))
        self.pages.send(Frame(FENCE, fence=number))
        self.told("fence")

    def told(self, word):
        answer = self.control.hear()
        expect(answer.get("message") == word, f"{answer} where {word} was due")

    def ask(self, **changes):
        """(line, answer) of a HELLO that wants to resume."""
        line = self.line("resume")
        line.send(Frame(HELLO, compact(dict({"resume": self.id, "token": self.token, "key": self.key, "reconnect-timeout": 5000000}, **changes))))
        return line, line.hear()

    def resume(self):
        line, answer = self.ask()
        expect(answer.get("ok") is True, f"not resumed: {answer}")
        self.control, self.key = line, answer["resume-key"]
        return answer

    def prepare(self):
        state = example_state(SIZE, 1)
        self.stream.send(Frame(STATE, state, region=VMM))
        self.stream.send(Frame(STATE_END, wire.struct.pack("<Q", wire.digest(state)), region=VMM, offset=len(state)))
        self.control.send(Frame(MESSAGE, compact({"message": "prepare"})))
        self.told("prepared")

    def alive(self):
        self.control.send(Frame(MESSAGE, compact({"message": "ping"})))
        self.told("pong")


def stage(rig):
    r = rig(devices=[], size=SIZE, threads=1, rate=200).up()
    decider = wire.Decider("pending")
    return r, decider, Resuming(r, decider)


def end(r, decider, source):
    """The source is gone for good, and says so where it is asked."""
    decider.word = "aborted"
    source.close()
    rest(r)
    decider.close()
    r.migrate("--verify=strict")
    r.judge_moved()


def refused(answer, word, what):
    expect(answer.get("error") == word, f"{what}: {answer}")


@CASES.case("resume")
def resume(rig):
    """Cut in the middle of a frame, with a reset; what is in place is counted to the frame."""
    r, decider, s = stage(rig)
    s.begin()
    s.round(0)
    for n in range(5):
        s.pages.send(Frame(PAGES, os.urandom(PAGE), offset=n * PAGE))
    s.pages.send(Frame(PAGES, os.urandom(4 * PAGE)).seal(s.pages.sequence)[:3000])
    wait_for("five frames in place", lambda: r.B.status()["phase"] == "receive")
    s.alive()
    for line in (s.control, s.pages, s.stream):
        line.socket.shutdown(wire.socket.SHUT_WR)
    wait_for("the destination waiting for the source", lambda: r.B.status()["phase"] == "reconnecting")
    answer = s.resume()
    # HELLO, two frames of round 0, five whole frames, and not the one that was cut.
    expect(answer["applied"] == [8] and answer["state-taken"] == [], f"{answer}")
    s.attach_all(s.key)
    s.round(0)
    s.round(1)
    s.prepare()
    status = r.B.status()
    expect(status["reconnects"] == 1, f"{status['reconnects']} reconnects")
    refused(s.ask()[1], "WrongState", "to resume what is prepared")
    end(r, decider, s)


@CASES.case("resume-hostile")
def hostile(rig):
    """Who lacks the key disturbs nobody; who has it takes over, also from one that lives; an old key is worth nothing."""
    r, decider, s = stage(rig)
    s.begin()
    s.round(0)
    first = s.key
    refused(s.ask(key="0" * 32)[1], "NoSuchMigration", "a wrong key")
    refused(s.ask(key="")[1], "NoSuchMigration", "no key")
    refused(s.ask(token="0" * 32)[1], "NoSuchMigration", "a wrong token")
    refused(s.ask(resume="0" * 32)[1], "NoSuchMigration", "another migration")
    refused(s.ask(key=first[:-1])[1], "NoSuchMigration", "a part of the key")
    refused(s.join("pages", "")[1], "PeerProtocol", "a second page connection")
    refused(s.join("pages", first)[1], "PeerProtocol", "a page connection with the key of the next resume")
    s.alive()
    s.round(1)

    old = s.control, s.pages
    answer = s.resume()  # while the first connections live
    expect(answer["applied"] == [5], f"{answer}")
    for line in old:
        try:
            while line.socket.recv(4096):
                pass
        except ConnectionError:
            pass
    s.key, second = first, s.key  # the answer may have been lost: the old key still opens
    expect(s.resume()["applied"] == [5], "the second answer differs from the first")
    refused(s.join("pages", second)[1], "PeerProtocol", "a connection with the key of an answer that is out of date")
    refused(s.join("pages", "")[1], "PeerProtocol", "a connection without a key")
    s.attach_all(s.key)
    newest = s.key
    s.key = first
    refused(s.ask()[1], "NoSuchMigration", "a replayed resume")
    s.key = newest
    s.alive()
    s.round(2)

    fds = len(r.B.migd.fds())
    for _ in range(60):  # nothing attaches in between
        s.resume()
    expect(len(r.B.migd.fds()) < fds + 40, f"{len(r.B.migd.fds())} descriptors after 60 resumes, {fds} before")
    s.attach_all(s.key)
    s.round(3)
    s.prepare()
    end(r, decider, s)


@CASES.case("resume-never")
def never(rig):
    """A source that does not come back: the destination keeps what it has for as long as was agreed and 15 s, or until it hears that it
    was given up."""
    r, decider, s = stage(rig)
    s.begin()
    s.round(0)
    s.close(reset=True)
    wait_for("the destination waiting for the source", lambda: r.B.status()["phase"] == "reconnecting")
    expect(r.B.show()["state"] == "receiving", f"the domain is {r.B.show()['state']}")
    decider.word = "aborted"
    rest(r)
    status = r.B.status()
    expect(status["state"] == "failed" and "given this migration up" in status["message"], f"{status['state']}: {status['message']}")
    decider.word = "pending"
    s = Resuming(r, decider)
    s.begin()
    s.close()
    wait_for("the destination waiting for the source", lambda: r.B.status()["phase"] == "reconnecting")
    r.B.migctl("cancel", "demo")
    rest(r)
    decider.close()
    r.migrate("--verify=strict")
    r.judge_moved()
