/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clang-format off */
/*
 * The wire between two daemons, protocol version 1.
 *
 * A migration has one control connection, N page connections and one state connection. Every connection carries frames: a 64-byte header, then
 * `length` bytes of payload. All integers are little-endian. Sequence numbers count frames per connection and direction from 0. The header checksum is
 * always there; the payload checksum only with WIRE_FLAG_CHECKSUM.
 *
 * Over TLS (1.3, certificates of both sides) whoever accepted a connection says a struct wire_welcome before any frame: whoever connected is done with
 * its handshake before its certificate was looked at. A side that takes no TLS, or only TLS, answers the wrong kind of first byte with a HELLO
 * {"error"...} in plain text.
 *
 *   source                                             destination
 *   control: HELLO {"migration", "domain", ...}    ──▶  what the source has, per region and device, is held against what is here: names, sizes,
 *                                                       addresses, models, drivers; "allow": [CODE...] are findings that its operator overrules.
 *                                                       Keys that the other side does not know are left out of account
 *                                                  ◀──  HELLO {"ok": true, "protocol", "connections", "codecs": ["lz4", ...]...} or
 *                                                       {"error": WORD, "message", "hint"}
 *   page k:  HELLO {"attach": ID, "token", "role": "pages", "index": k} ──▶
 *                                                  ◀──  HELLO {"ok": true}
 *   state:   HELLO {"attach": ID, "token", "role": "state", "index": 0} ──▶ , same answer
 *   page k:  PAGES, PACKED, ZERO ...               ──▶  applied into place
 *   page k:  FENCE round                           ──▶  offset: 0, or of how many page connections, where their number grows (below)
 *                                                  ◀──  control: MESSAGE {"message": "fence", "round": r}, when all page
 *                                                       connections have brought their FENCE of that round: pages of the next round never
 *                                                       overtake pages of this one
 *   state:   STATE (region: device index) ...      ──▶  PRE_COPY data while rounds run, then the rest
 *            STATE_END (offset: bytes; payload: XXH3 of the whole stream) for each device and the VMM
 *   control: MESSAGE {"message": "prepare"}        ──▶  after the last fence; carries what the destination must have got
 *                                                  ◀──  MESSAGE {"message": "loading"} at once and each second until the next, if HELLO and its answer
 *                                                       had "heartbeat": true; silence of 8 s then ends the migration at the source
 *                                                  ◀──  MESSAGE {"message": "prepared", ...}: loaded, does not run
 *   control: MESSAGE {"message": "verify"}         ──▶  strict verify only ("verify" of HELLO); the destination answers on control with DIGESTS frames,
 *                                                       taken before its VMM loaded, which may write memory, and of what came later anew, and
 *                                                  ◀──  MESSAGE {"message": "verified"}
 *            [source writes its decision record]
 *   control: MESSAGE {"message": "commit"}         ──▶  [destination records ACCEPTED]
 *                                                  ◀──  MESSAGE {"message": "active", "resume-usec"}, or {"message": "returned", "error"...}
 *   control: MESSAGE {"message": "done"}           ──▶  the destination may forget
 *   Either side at any time before commit: MESSAGE {"message": "abort", "error": WORD, "text", "hint"}.
 *
 *   More page connections while pages are sent. HELLO with "connections-limit", above "connections", may be answered with "connections-limit":
 *   then the next index up to that may attach at any time before prepare, as the others did (with "key" after a break), and its pages count from
 *   then on. Every FENCE says how many there are in its round; nobody joins a round in which one was sent. The "applied" of a resume has an entry for
 *   each up to the limit, and HELLO {"resume"...} says with "connections" how many page connections come back.
 *
 *   A break before the blackout. HELLO with "reconnect-timeout" (usec, not 0) is answered with "resume-key"; who knows neither is spoken to as
 *   above, and a break ends the migration. Where both are there:
 *   the destination says with APPLIED frames, on page and state connections, what is in place, so that the source can forget what it sent
 *   control: MESSAGE {"message": "ping"}           ──▶  any time before prepare
 *                                                  ◀──  MESSAGE {"message": "pong"}
 *   When a connection broke, a new one:
 *   HELLO {"resume": ID, "token", "key", "reconnect-timeout"} ──▶ [destination ends all that it has of the old connections]
 *                                                  ◀──  HELLO {"ok": true, "resume-key", "applied": [frames in place, per page connection, HELLO the
 *                                                       first], "state-taken": [bytes, per device]} or {"error"...}
 *   It is the control connection from now on; the others attach to it, with "key" (what the answer said) besides. What was sent and is not in
 *   place is sent again. A key is good for one resume: the older one is worthless once a connection showed the newer.
 *
 *   a check, on a connection of its own: HELLO {"check": true, "domain", "regions", "devices", ...}, without "migration"; nothing is touched
 *                                                  ◀──  HELLO {"ok": true, "findings": [{"code", "severity", "subject", "message", "remedy"}...],
 *                                                       "findings-left-out": n}; a peer that does not know the question answers {"error": "PeerProtocol"}
 *
 *   a measurement of the link, on connections of its own, of which up to WIRE_PROBE_STREAMS_MAX show the same token:
 *   HELLO {"probe": true, "token"}                 ──▶
 *                                                  ◀──  HELLO {"ok": true, "probe-seconds": how long it may take in all}, {"error": "PeerProtocol"} from a peer
 *                                                       that does not know the question, or another error
 *   PROBE ..., MESSAGE {"message": "probe-end"}    ──▶  as often as it likes
 *                                                  ◀──  MESSAGE {"message": "probe-result", "bytes": payload since the result before, "usec": from the first frame
 *                                                       of them to probe-end, "cpu-usec"}
 *
 *   libvirt's guests. A host at which one arrives, whose QEMU waits for it, asks the hosts that may have it, on a connection of its own:
 *   HELLO {"fetch": UUID, "domain": its name there} ──▶
 *                                                  ◀──  HELLO {"ok": true, "fetch": "begun"}: this host moves its memory by a migration, which now comes;
 *                                                       "on-its-way": the same, because its operator said so; {"error": WORD...}: it does not, "PeerProtocol"
 *                                                       from a peer that does not know the question
 *                                                  ◀──  MESSAGE {"message": "fetch-end", "whole"}, when that migration has ended. "whole": true: nothing was
 *                                                       handed over, and the guest runs as before, so that QEMU may move everything; false: it must not
 *   HELLO {"receives": true}                       ──▶  whether a guest that arrives there waits for this host; with "guest": UUID and "comes": true, that this one will
 *                                                       come and must not be moved whole if nobody comes for its memory; "comes": false: it does not come
 *                                                  ◀──  HELLO {"ok": true} or {"error"...}
 *
 *   in doubt: a new connection to the address that HELLO named as "decision-address":
 *   HELLO {"query": ID, "token"}  ──▶
 *                                                  ◀──  HELLO {"decision": "committed" | "aborted" | "pending"}
 *   and the source, when it lost the destination after commit: HELLO {"outcome": ID, "token"} to the destination:
 *                                                  ◀──  HELLO {"outcome": "active" | "returned" | "pending" | "unknown"}
 */
/* clang-format on */
#pragma once
#include <assert.h>
#include <stdint.h>

#define WIRE_MAGIC   UINT32_C(0x4447494d) /* "MIGD" */
#define WIRE_VERSION 1

/* clang-format off */
#define WIRE_JSON_MAX_BYTES (256u * 1024)     /* HELLO and MESSAGE */
#define WIRE_PAYLOAD_MAX_BYTES (4u << 20)     /* of any frame, extent table included */
#define WIRE_PACKED_MAX_BYTES (2u << 20)      /* of a PACKED frame: before packing, and after, without the table */
#define WIRE_EXTENTS_MAX 1024u                /* per frame */
#define WIRE_CONNECTIONS_MAX 16u
#define WIRE_PROBE_STREAMS_MAX 8u
#define WIRE_REGIONS_MAX 1024u
#define WIRE_DEVICES_MAX 256u
#define WIRE_STATE_VMM UINT32_C(0xffffffff)   /* device index of the VMM's own state */
/* clang-format on */

/* clang-format off */
enum wire_type {
    WIRE_HELLO = 1,     /* payload: JSON object */
    WIRE_MESSAGE = 2,   /* payload: JSON object */
    WIRE_PAGES = 3,     /* region; count extents; payload: extent table, then the bytes of the extents in order. With count 0: one extent, offset */
    WIRE_ZERO = 4,      /* region; count extents; payload: extent table alone. With count 0: offset and zero_length in the header, no payload */
    WIRE_FENCE = 5,     /* round */
    WIRE_STATE = 6,     /* region: device index; offset: position in its stream; payload: bytes */
    WIRE_STATE_END = 7, /* region: device index; offset: bytes in all; payload: u64 XXH3-64 of the whole stream */
    WIRE_DIGESTS = 8,   /* region; offset: byte offset of the first page; payload: u64 XXH3-64 per 4 KiB page */
    WIRE_PACKED = 9,    /* region; count extents, at least 1; offset: codec, 1 lz4 (a block), 2 zstd (a frame); payload: extent table, then the bytes of
                           the extents in order, packed as one piece. Only to a destination that named the codec in its answer to HELLO */
    WIRE_APPLIED = 16,  /* only where a resume was agreed, from the destination. Page connection: offset: frames of it (HELLO is the first)
                           that are in place. State connection: region: device index, or WIRE_STATE_VMM; offset: bytes of its stream taken */
    WIRE_PROBE = 17,    /* payload: bytes that mean nothing and go nowhere */
};
/* clang-format on */

#define WIRE_FLAG_CHECKSUM 1u /* payload_checksum is XXH3-64 of the payload */

/* clang-format off */
struct wire_header {
    uint32_t magic;
    uint8_t version;
    uint8_t type;
    uint16_t flags;
    uint32_t region;
    uint32_t count;  /* extents in the table */
    uint64_t offset; /* bytes, in the region or stream */
    uint64_t length; /* payload bytes that follow */
    uint64_t sequence;
    uint64_t payload_checksum; /* with WIRE_FLAG_CHECKSUM; for WIRE_ZERO without table: zero_length in bytes */
    uint32_t round;
    uint32_t reserved;        /* 0 */
    uint64_t header_checksum; /* XXH3-64 of the 56 bytes before */
};
/* clang-format on */
static_assert(sizeof(struct wire_header) == 64, "wire");

struct wire_welcome { /* over TLS, before any frame */
    uint32_t magic;
    uint16_t refused; /* 0: welcome */
    uint16_t length;  /* of the text that follows and says why not */
};
static_assert(sizeof(struct wire_welcome) == 8, "wire");

struct wire_extent {
    uint64_t offset; /* bytes in the region, multiple of 4096 */
    uint64_t length; /* bytes, multiple of 4096, not 0 */
};
static_assert(sizeof(struct wire_extent) == 16, "wire");
