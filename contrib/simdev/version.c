/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handshake: VERSION with its JSON text, and the twin socket. */
#include "base/log.h"
#include "server.h"
#include <json-c/json.h>
#include <string.h>
#include <sys/socket.h>

#define MINOR_MAX 2u
#define PGSIZE    4096

struct proposal {
    int64_t max_msg_fds, max_data_xfer_size, pgsize;
    bool twin;
};

static void json_put(json_object **o)
{
    json_object_put(*o);
}

static int get_int(json_object *from, const char *key, int64_t min, int64_t max, int64_t *ret)
{
    json_object *o;
    if (!json_object_object_get_ex(from, key, &o))
        return 0;
    int64_t n = json_object_get_int64(o);
    if (!json_object_is_type(o, json_type_int) || n < min || n > max)
        return -EINVAL;
    *ret = n;
    return 0;
}

static int get_object(json_object *from, const char *key, json_object **ret)
{
    *ret = NULL;
    return !json_object_object_get_ex(from, key, ret) || json_object_is_type(*ret, json_type_object)
               ? 0
               : -EINVAL;
}

static int parse(const char *text, struct proposal *p)
{
    _cleanup_(json_put) json_object *root = json_tokener_parse(text);
    json_object *caps, *migration, *twin, *supported;
    if (!root || !json_object_is_type(root, json_type_object) || get_object(root, "capabilities", &caps) < 0)
        return -EINVAL;
    if (!caps)
        return 0;
    if (get_int(caps, "max_msg_fds", 0, 1024, &p->max_msg_fds) < 0 ||
        get_int(caps, "max_data_xfer_size", 1, UINT32_MAX, &p->max_data_xfer_size) < 0 ||
        get_object(caps, "migration", &migration) < 0 || get_object(caps, "twin_socket", &twin) < 0)
        return -EINVAL;
    if (migration && get_int(migration, "pgsize", 0, INT64_MAX, &p->pgsize) < 0)
        return -EINVAL;
    if (twin && json_object_object_get_ex(twin, "supported", &supported)) {
        if (!json_object_is_type(supported, json_type_boolean))
            return -EINVAL;
        p->twin = json_object_get_boolean(supported);
    }
    return p->pgsize == PGSIZE ? 0 : -EINVAL;
}

static json_object *capabilities(const struct device *d, bool twin)
{
    json_object *root = json_object_new_object(), *caps = json_object_new_object();
    json_object_object_add(caps, "max_msg_fds", json_object_new_int(VFU_MAX_MSG_FDS));
    json_object_object_add(caps, "max_data_xfer_size", json_object_new_int(VFU_MAX_DATA_XFER_BYTES));
    if (d->options->migration_flags) {
        json_object *migration = json_object_new_object();
        json_object_object_add(migration, "pgsize", json_object_new_int(PGSIZE));
        json_object_object_add(caps, "migration", migration);
    }
    if (twin) {
        json_object *o = json_object_new_object();
        json_object_object_add(o, "supported", json_object_new_boolean(true));
        json_object_object_add(o, "fd_index", json_object_new_int(0));
        json_object_object_add(caps, "twin_socket", o);
    }
    json_object_object_add(root, "capabilities", caps);
    return root;
}

static int fill(struct device *d, struct reply *r, const struct vfu_version *version, bool twin)
{
    _cleanup_(json_put) json_object *root = capabilities(d, twin);
    const char *text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
    enum lie lie = d->misbehave.lie[POINT_VERSION];
    size_t text_bytes = strlen(text) + 1, spare = lie == LIE_LONG ? VFU_MAX_DATA_XFER_BYTES * 2 : 0;
    uint8_t *payload = reply_make(r, sizeof *version + text_bytes + spare);
    if (!payload)
        return -ENOMEM;
    memcpy(payload, version, sizeof *version);
    memcpy(payload + sizeof *version, text, text_bytes);
    if (lie == LIE_LONG)
        memset(payload + sizeof *version + text_bytes - 1, ' ', spare);
    if (lie == LIE_SHORT)
        r->payload_bytes = sizeof *version / 2;
    return 0;
}

int handle_version(struct device *d, struct message *m, struct reply *r, int *ret_twin_fd, int *ret_client_fd)
{
    struct vfu_version version;
    struct proposal p = {.max_msg_fds = 1, .max_data_xfer_size = VFU_MAX_DATA_XFER_BYTES, .pgsize = PGSIZE};
    if (m->header.command != VFU_VERSION || m->payload_bytes < sizeof version || m->n_fds)
        return -EINVAL;
    memcpy(&version, m->payload, sizeof version);
    if (version.major != VFU_VERSION_MAJOR)
        return -EINVAL;
    size_t text_bytes = m->payload_bytes - sizeof version;
    if (text_bytes) {
        const char *text = (const char *)m->payload + sizeof version;
        if (text[text_bytes - 1] != '\0' || parse(text, &p) < 0)
            return -EINVAL;
    }
    d->conn->max_transfer_bytes = MIN((uint64_t)p.max_data_xfer_size, (uint64_t)VFU_MAX_DATA_XFER_BYTES);
    version.minor = (uint16_t)MIN(version.minor, MINOR_MAX);
    bool twin = p.twin && p.max_msg_fds > 0;
    if (twin) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return -errno;
        *ret_twin_fd = pair[0];
        *ret_client_fd = pair[1];
        r->fds[r->n_fds++] = pair[1];
    }
    log_info("a client: version %u.%u%s", version.major, version.minor, twin ? ", with a twin socket" : "");
    return fill(d, r, &version, twin);
}
