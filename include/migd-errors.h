/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every error that migd answers with, in one table: the daemon maps them to D-Bus names, migctl to exit
 * codes, and peers carry the word in ABORT frames.
 *
 *   X(symbol, word, default errno, exit code of migctl)
 *
 * The D-Bus name is MIGD_ERROR_PREFIX + word. The sentence that an administrator reads is made where the fact
 * is known and travels as the message; see daemon/base/error.h.
 */
#pragma once

#define MIGD_ERROR_PREFIX "org.migd.Migd1.Error."

#define MIGD_EXIT_DONE          0
#define MIGD_EXIT_FAILED        1
#define MIGD_EXIT_USAGE         2
#define MIGD_EXIT_NOT_FOUND     3
#define MIGD_EXIT_NOT_ALLOWED   4
#define MIGD_EXIT_CANCELLED     5
#define MIGD_EXIT_NOT_CONVERGED 6
#define MIGD_EXIT_IN_DOUBT      7

/* clang-format off */
#define MIGD_ERROR_TABLE(X)                                                                                  \
    X(MIG_ERR_FAILED, "Failed", EIO, MIGD_EXIT_FAILED)                                                       \
    X(MIG_ERR_NO_MEMORY, "NoMemory", ENOMEM, MIGD_EXIT_FAILED)                                               \
    X(MIG_ERR_INVALID_ARGUMENT, "InvalidArgument", EINVAL, MIGD_EXIT_USAGE)                                  \
    X(MIG_ERR_NO_SUCH_DOMAIN, "NoSuchDomain", ENOENT, MIGD_EXIT_NOT_FOUND)                                   \
    X(MIG_ERR_NO_SUCH_MIGRATION, "NoSuchMigration", ENOENT, MIGD_EXIT_NOT_FOUND)                             \
    X(MIG_ERR_NO_SUCH_OBJECT, "NoSuchObject", ENOENT, MIGD_EXIT_NOT_FOUND)                                   \
    X(MIG_ERR_EXISTS, "Exists", EEXIST, MIGD_EXIT_FAILED)                                                    \
    X(MIG_ERR_BUSY, "Busy", EBUSY, MIGD_EXIT_FAILED)                                                         \
    X(MIG_ERR_NOT_ALLOWED, "NotAllowed", EPERM, MIGD_EXIT_NOT_ALLOWED)                                       \
    X(MIG_ERR_NOT_SUPPORTED, "NotSupported", EOPNOTSUPP, MIGD_EXIT_FAILED)                                   \
    X(MIG_ERR_WRONG_STATE, "WrongState", ESTALE, MIGD_EXIT_FAILED)                                           \
    X(MIG_ERR_LIMIT, "LimitExceeded", E2BIG, MIGD_EXIT_FAILED)                                               \
    X(MIG_ERR_DEVICE, "DeviceFailed", EIO, MIGD_EXIT_FAILED)                                                 \
    X(MIG_ERR_DEVICE_TIMEOUT, "DeviceTimeout", ETIMEDOUT, MIGD_EXIT_FAILED)                                  \
    X(MIG_ERR_DEVICE_GONE, "DeviceGone", ENODEV, MIGD_EXIT_FAILED)                                           \
    X(MIG_ERR_DEVICE_PROTOCOL, "DeviceProtocol", EPROTO, MIGD_EXIT_FAILED)                                   \
    X(MIG_ERR_DEVICE_BROKEN, "DeviceBroken", EIO, MIGD_EXIT_FAILED)                                          \
    X(MIG_ERR_TRACKER, "TrackerFailed", EIO, MIGD_EXIT_FAILED)                                               \
    X(MIG_ERR_CONTROLLER, "ControllerFailed", EIO, MIGD_EXIT_FAILED)                                         \
    X(MIG_ERR_CONTROLLER_TIMEOUT, "ControllerTimeout", ETIMEDOUT, MIGD_EXIT_FAILED)                          \
    X(MIG_ERR_PEER_UNREACHABLE, "PeerUnreachable", EHOSTUNREACH, MIGD_EXIT_FAILED)                           \
    X(MIG_ERR_PEER_LOST, "PeerLost", ECONNRESET, MIGD_EXIT_FAILED)                                           \
    X(MIG_ERR_PEER_TIMEOUT, "PeerTimeout", ETIMEDOUT, MIGD_EXIT_FAILED)                                      \
    X(MIG_ERR_PEER_PROTOCOL, "PeerProtocol", EPROTO, MIGD_EXIT_FAILED)                                       \
    X(MIG_ERR_PEER_REFUSED, "PeerRefused", ECONNREFUSED, MIGD_EXIT_FAILED)                                   \
    X(MIG_ERR_PEER_UNTRUSTED, "PeerUntrusted", EKEYREJECTED, MIGD_EXIT_FAILED)                               \
    X(MIG_ERR_CREDENTIALS, "Credentials", ENOKEY, MIGD_EXIT_FAILED)                                          \
    X(MIG_ERR_INCOMPATIBLE, "Incompatible", ENOTUNIQ, MIGD_EXIT_FAILED)                                      \
    X(MIG_ERR_GATE, "GateFailed", EBADE, MIGD_EXIT_FAILED)                                                   \
    X(MIG_ERR_VERIFY, "VerifyFailed", EBADMSG, MIGD_EXIT_FAILED)                                             \
    X(MIG_ERR_CANCELLED, "Cancelled", ECANCELED, MIGD_EXIT_CANCELLED)                                        \
    X(MIG_ERR_STALLED, "NotConverging", EOVERFLOW, MIGD_EXIT_NOT_CONVERGED)                                  \
    X(MIG_ERR_TIMED_OUT, "TimedOut", ETIME, MIGD_EXIT_NOT_CONVERGED)                                         \
    X(MIG_ERR_IN_DOUBT, "InDoubt", EINPROGRESS, MIGD_EXIT_IN_DOUBT)                                          \
    X(MIG_ERR_RETURNED, "Returned", EREMOTEIO, MIGD_EXIT_FAILED)                                             \
    X(MIG_ERR_STOPPED, "Stopped", ESHUTDOWN, MIGD_EXIT_FAILED)                                               \
    X(MIG_ERR_CONFIG, "Config", EINVAL, MIGD_EXIT_USAGE)
/* clang-format on */

enum mig_error_code {
    MIG_ERR_NONE = 0,
#define X(symbol, word, error, exit_code) symbol,
    MIGD_ERROR_TABLE(X)
#undef X
        MIG_ERR_MAX,
};
