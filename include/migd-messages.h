/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kinds of journal lines that an operator may search for (`journalctl MESSAGE_ID=...`), in one table. The
 * catalog that `journalctl -x` prints, unit/migd.catalog, is made from it (`make update-catalog`).
 *
 *   X(symbol, id, title, story, remedy)
 *
 * id: stable for ever, as in sd-id128(3). Story and remedy may name fields of the line as @FIELD@; fields are
 * in daemon/base/log.h. A line of another kind gets an id of its own, never one of these.
 */
#pragma once

/* clang-format off */
#define MIGD_MESSAGE_TABLE(X)                                                                                \
    X(MESSAGE_MIGRATION_BEGUN, "f6fadfa7e5c14b629362da5cc13da58a",                                           \
      "A migration begins",                                                                                  \
      "The memory and the devices of domain @MIGD_DOMAIN@ are being moved (migration "                       \
      "@MIGD_MIGRATION@, peer @MIGD_PEER@). The workload runs on at the source until the blackout.",         \
      "Nothing is to be done. `migctl status @MIGD_MIGRATION@` shows how far it is, `migctl cancel "         \
      "@MIGD_MIGRATION@` ends it, and until its decision that costs nothing.")                               \
    X(MESSAGE_MIGRATION_COMPLETED, "2c63888f28f04481be6ddce7a7ace732",                                       \
      "A migration has completed",                                                                           \
      "Domain @MIGD_DOMAIN@ runs at the destination of migration @MIGD_MIGRATION@, and there alone.",        \
      "Nothing is to be done. `migctl status @MIGD_MIGRATION@` still has its figures; at the source"         \
      " `migctl release @MIGD_DOMAIN@` gives back what migd holds of it.")                                   \
    X(MESSAGE_MIGRATION_CANCELLED, "8a119b9e16bc47328f7b7676d015b0dc",                                       \
      "A migration was cancelled",                                                                           \
      "Migration @MIGD_MIGRATION@ was ended on request before its decision. Domain @MIGD_DOMAIN@ "           \
      "runs on at the source, and nothing of it stays at the destination.",                                  \
      "Nothing is to be done.")                                                                              \
    X(MESSAGE_MIGRATION_FAILED, "bc67ba94637d4efaa09e467ada679f81",                                          \
      "A migration has failed",                                                                              \
      "Migration @MIGD_MIGRATION@ of domain @MIGD_DOMAIN@ ended in phase @MIGD_PHASE@ with the "             \
      "error @MIGD_ERROR@; the line says why. A migration that fails before its decision leaves the"         \
      " workload running at the source.",                                                                    \
      "Look at the domain on both hosts (`migctl show @MIGD_DOMAIN@`): one of them runs it. `migctl"         \
      " check @MIGD_DOMAIN@ DESTINATION` looks for what stands in the way, and `migctl start` may "          \
      "be tried again.")                                                                                     \
    X(MESSAGE_MIGRATION_IN_DOUBT, "fab36728a78b4b7e8787c0de2f960063",                                        \
      "Nobody here knows which side owns a workload",                                                        \
      "Migration @MIGD_MIGRATION@ lost its peer @MIGD_PEER@ at the one moment in which only the "            \
      "other side knows the decision. Domain @MIGD_DOMAIN@ does not run here, and migd asks the "            \
      "other side until it answers.",                                                                        \
      "Bring the other host or the network back, and it resolves itself. If the other host will "            \
      "never come back: `migctl resolve @MIGD_MIGRATION@ --run` runs the workload here, `--drop` "           \
      "gives it up here. Do not say --run while the other side may run: two would write to the same"         \
      " disks.")                                                                                             \
    X(MESSAGE_MIGRATION_RESOLVED, "a712755f6cac44d599d5269512e74f7b",                                        \
      "An operator decided a migration in doubt",                                                            \
      "Migration @MIGD_MIGRATION@ was in doubt, and user @MIGD_CALLER_UID@ said what becomes of domain "     \
      "@MIGD_DOMAIN@ on this side: @MIGD_REASON@.",                                                          \
      "Make sure that the other host does not run it too before it is connected again.")                     \
    X(MESSAGE_MIGRATION_TAKEN_UP, "ac8efe121c5949f1ba2dde83458bfed0",                                        \
      "A migration of an earlier process is taken up",                                                       \
      "A migd before this one ended in the middle of migration @MIGD_MIGRATION@ of domain "                  \
      "@MIGD_DOMAIN@, and its record says how far it was. A source that had not decided resumes its"         \
      " workload; one that had decided stays quiet and tells the destination; a destination that "           \
      "was prepared asks.",                                                                                  \
      "Nothing is to be done. If migd ended by itself, the lines before this one, or `coredumpctl`,"         \
      " say why.")                                                                                           \
    X(MESSAGE_RECOVERY_FAILED, "5796a670482c490e8d9782bfcdc83011",                                           \
      "A migration of an earlier process could not be taken up",                                             \
      "The record of migration @MIGD_MIGRATION@ says that domain @MIGD_DOMAIN@ needs something "             \
      "done, and that did not work. The domain is marked broken, so that nobody takes it for "               \
      "running.",                                                                                            \
      "The line says what failed. Look at the workload itself, on this host and on the other, "              \
      "before you start it anywhere; `migctl release --force @MIGD_DOMAIN@` lets go of it here.")            \
    X(MESSAGE_DEVICE_RECOVERED, "0b80a25553a14945a93258ef7777682c",                                          \
      "A device refused a state and was brought back by its ladder",                                         \
      "Device @MIGD_DEVICE@ answered a change of its migration state with an error. migd tried the "         \
      "state that its class names for recovery, then a reset; the line has each step.",                      \
      "If there was a reset, what the device held is lost: load its driver in the guest anew. "              \
      "Devices that do this again want a newer firmware or driver.")                                         \
    X(MESSAGE_DOMAIN_BROKEN, "45ac16b9c20d4c218f8a7abff2e91ac7",                                             \
      "A domain is broken",                                                                                  \
      "migd cannot say that domain @MIGD_DOMAIN@ is whole: a device was lost or reset, a process "           \
      "that held it died, or something of it could not be restored. The line says which.",                   \
      "`migctl show @MIGD_DOMAIN@` names the problem. Repair or restart the workload, then `migctl "         \
      "release --force @MIGD_DOMAIN@` and register it again.")                                               \
    X(MESSAGE_DOMAIN_REGISTERED, "dd2ee150d2844277b89c1af40ce8fcc9",                                         \
      "A domain was registered",                                                                             \
      "migd holds the memory, containers and devices of domain @MIGD_DOMAIN@ from now on, also over"         \
      " a restart of its own.",                                                                              \
      "Nothing is to be done. `migctl check @MIGD_DOMAIN@` says whether it can migrate.")                    \
    X(MESSAGE_DOMAIN_RELEASED, "3c3ae353fb14428e90b401a6c1cc0aff",                                           \
      "A domain was released",                                                                               \
      "migd has given back everything it held of domain @MIGD_DOMAIN@.",                                     \
      "Nothing is to be done.")                                                                              \
    X(MESSAGE_DOMAIN_RESTORED, "b9c8b9ffe46e46279419c7723226db94",                                           \
      "A domain is back after a restart",                                                                    \
      "migd found domain @MIGD_DOMAIN@ in its saved form and in the descriptors that the service "           \
      "manager kept.",                                                                                       \
      "Nothing is to be done.")                                                                              \
    X(MESSAGE_DOMAIN_NOT_RESTORED, "bbeeb6361d334c6d96f0da847a2a3b87",                                       \
      "A domain could not be restored whole",                                                                \
      "The saved form of a domain, or a descriptor that it needs, is missing or cannot be used any "         \
      "more; the line says which.",                                                                          \
      "If its workload still runs, register the domain again. Descriptors live in the service "              \
      "manager only while the unit has FileDescriptorStoreMax= and was not stopped for good.")               \
    X(MESSAGE_GATE_LATE, "68e58909ccb24416925a56c9a30f4300",                                                 \
      "A device wrote after everything was sent",                                                            \
      "Pages of domain @MIGD_DOMAIN@ were written by a device after migration @MIGD_MIGRATION@ had "         \
      "been decided, so those writes are not at the destination. A device that obeys its migration "         \
      "state does not do this.",                                                                             \
      "Treat the memory that the line names as damaged in the guest. Report the device's driver and"         \
      " firmware to its maker; migrate such a device with --gate strict only, after its workload "           \
      "was stopped.")                                                                                        \
    X(MESSAGE_TRACKER_LOST, "ff53a46f5ead403a84c4b877678537a3",                                              \
      "A tracker of written pages failed",                                                                   \
      "What was written cannot be told exactly, so everything that this tracker covers counts as "           \
      "written. No write is lost by that, but a round may have to send all of it.",                          \
      "If it happens again, `migctl check @MIGD_DOMAIN@` and the kernel's log (`journalctl -k`) say"         \
      " more about the IOMMU or the device.")                                                                \
    X(MESSAGE_DESCRIPTOR_UNKNOWN, "e179f773a6e043c09514b7dde2ad0478",                                        \
      "A kept descriptor belongs to nothing",                                                                \
      "The service manager handed over a descriptor which no saved domain names. It was closed.",            \
      "Usually an earlier migd died between two steps, and nothing is to be done. If its domain is "         \
      "missing in `migctl list`, register it again.")                                                        \
    X(MESSAGE_DESCRIPTOR_NOT_KEPT, "0c28cec1b94742afa4b936976b4b76b0",                                       \
      "The service manager does not keep a descriptor",                                                      \
      "A descriptor could not be put into the service manager's store. While this process lives "            \
      "nothing is wrong; a restart would lose the descriptor and leave its domain incomplete.",              \
      "See whether FileDescriptorStoreMax= of migd.service is large enough, and whether a drop-in "          \
      "changed it.")                                                                                         \
    X(MESSAGE_WORKER_STUCK, "a398d022d4354df48322905089933837",                                              \
      "A worker gives no sign",                                                                              \
      "A thread of migd that works on a migration or a domain has made no progress for longer than "         \
      "the watchdog allows. The watchdog is not fed any more, and the service manager starts migd "          \
      "anew; the records say how each migration goes on.",                                                   \
      "A device or VMM that never answers is the usual reason: the line names the worker. After the"         \
      " restart `migctl list` shows what is left to be done.")                                               \
    X(MESSAGE_CONFIGURATION_LOADED, "4c8b1eb44f1e4ccf8372a2a784a67245",                                      \
      "The configuration was read again",                                                                    \
      "What can change while migd runs has changed; the lines before name what waits for a restart.",        \
      "Nothing is to be done. `migctl config` shows every value and where it comes from.")                   \
    X(MESSAGE_CONFIGURATION_REFUSED, "ac9130f4547c47d38e3a655f20731ab2",                                     \
      "The configuration cannot be used",                                                                    \
      "A file of the configuration has an error, so all values stay as they were.",                          \
      "Correct the file and line that the message names, and `systemctl reload migd` again. "                \
      "migd.conf(5) has the keys.")                                                                          \
    X(MESSAGE_ACCESS_ALLOWED, "ca3ab343ac334b68be9bf77c6519a9d5",                                            \
      "A call was allowed",                                                                                  \
      "User @MIGD_CALLER_UID@ called @MIGD_METHOD@, which needs the right @MIGD_ACTION@, and may: "          \
      "@MIGD_REASON@.",                                                                                      \
      "Nothing is to be done; this line is kept for those who want to know who asked for what.")             \
    X(MESSAGE_ACCESS_DENIED, "03c472ca449548b4b8d889d2b47a5c1d",                                             \
      "A call was denied",                                                                                   \
      "User @MIGD_CALLER_UID@ called @MIGD_METHOD@, which needs the right @MIGD_ACTION@, and may not: "      \
      "@MIGD_REASON@.",                                                                                      \
      "If this user should be allowed, write a rule for polkit (polkit(8)) that grants "                     \
      "@MIGD_ACTION@.")                                                                                      \
    X(MESSAGE_CALL_FAILED, "b068e8fb214f4343969b49e209a81df2",                                               \
      "A call that was allowed has failed",                                                                  \
      "User @MIGD_CALLER_UID@ was allowed to call @MIGD_METHOD@, and migd did not do what it asked for: "    \
      "@MIGD_REASON@.",                                                                                      \
      "Nothing is to be done: who called has the same sentence, with what would help.")                      \
    X(MESSAGE_PEER_ALLOWED, "e0b60f8538ad4be6973ab9579c8d81a7",                                              \
      "A peer may bring a migration",                                                                        \
      "@MIGD_PEER@ brings migration @MIGD_MIGRATION@ of domain @MIGD_DOMAIN@ here, which waits for it: "     \
      "@MIGD_REASON@.",                                                                                      \
      "Nothing is to be done; this line is kept for those who want to know who was let in. "                 \
      "Security= and AllowedPeers= in migd.conf(5) decide it.")                                              \
    X(MESSAGE_PEER_REFUSED, "77dde229df884e4dac2386e5cc86ba64",                                              \
      "A peer was refused",                                                                                  \
      "A connection to the peer port ended before any domain was touched: the dialogue was not "             \
      "understood, or its migration cannot be taken here. The line says why.",                               \
      "If it was one of your hosts, the same sentence is in the error of its migration. If it was "          \
      "not, keep that port from networks that are not trusted.")
/* clang-format on */

enum migd_message {
    MESSAGE_NONE, /* a line without an id */
#define X(symbol, id, title, story, remedy) symbol,
    MIGD_MESSAGE_TABLE(X)
#undef X
};
