/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio-user/negotiate.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH_MAX 16

static void json_put(struct json_object **o)
{
    json_object_put(*o);
}
static void tokener_free(struct json_tokener **t)
{
    if (*t)
        json_tokener_free(*t);
}

void vfu_caps_default(struct vfu_caps *caps)
{
    *caps = (struct vfu_caps){
        .max_msg_fds = 1,
        .max_data_xfer_bytes = VFU_MAX_DATA_XFER_BYTES,
        .page_sizes = 4096,
        .max_dma_maps = 65535,
        .twin_fd_index = -1,
    };
}

/* 1: there and in [min, max]; 0: absent; -EPROTO. */
static int get_int(struct json_object *o, const char *key, int64_t min, int64_t max, int64_t *ret, char *why,
                   size_t why_size)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, key, &v))
        return 0;
    if (!json_object_is_type(v, json_type_int)) {
        snprintf(why, why_size, "%s is not a whole number", key);
        return -EPROTO;
    }
    int64_t n = json_object_get_int64(v);
    if (n < min || n > max) {
        snprintf(why, why_size, "%s is %lld, outside %lld to %lld", key, (long long)n, (long long)min,
                 (long long)max);
        return -EPROTO;
    }
    *ret = n;
    return 1;
}

static int get_object(struct json_object *o, const char *key, struct json_object **ret, char *why,
                      size_t why_size)
{
    if (!json_object_object_get_ex(o, key, ret))
        return 0;
    if (!json_object_is_type(*ret, json_type_object)) {
        snprintf(why, why_size, "%s is not an object", key);
        return -EPROTO;
    }
    return 1;
}

static int parse_twin(struct vfu_caps *caps, struct json_object *o, char *why, size_t why_size)
{
    struct json_object *supported;
    int64_t n;
    if (json_object_object_get_ex(o, "supported", &supported)) {
        if (!json_object_is_type(supported, json_type_boolean)) {
            snprintf(why, why_size, "twin_socket.supported is not a boolean");
            return -EPROTO;
        }
        caps->twin_socket = json_object_get_boolean(supported);
    }
    int r = get_int(o, "fd_index", 0, VFU_MAX_MSG_FDS - 1, &n, why, why_size);
    if (r > 0)
        caps->twin_fd_index = (int)n;
    return r < 0 ? r : 0;
}

static int parse_members(struct vfu_caps *caps, struct json_object *o, char *why, size_t why_size)
{
    struct json_object *part;
    int64_t n;
    int r = get_int(o, "max_msg_fds", 0, 1024, &n, why, why_size);
    if (r > 0)
        caps->max_msg_fds = (unsigned)n;
    if (r >= 0 &&
        (r = get_int(o, "max_data_xfer_size", VFU_MIN_DATA_XFER_BYTES, INT64_MAX, &n, why, why_size)) > 0)
        caps->max_data_xfer_bytes = (uint32_t)MIN(n, (int64_t)VFU_MAX_DATA_XFER_BYTES);
    if (r >= 0 && (r = get_int(o, "pgsizes", 1, INT64_MAX, &n, why, why_size)) > 0)
        caps->page_sizes = (uint64_t)n;
    if (r >= 0 && (r = get_int(o, "max_dma_maps", 0, INT64_MAX, &n, why, why_size)) > 0)
        caps->max_dma_maps = (uint32_t)MIN(n, (int64_t)UINT32_MAX);
    if (r >= 0 && (r = get_object(o, "migration", &part, why, why_size)) > 0)
        caps->migration = true;
    if (r >= 0 && (r = get_object(o, "twin_socket", &part, why, why_size)) > 0)
        r = parse_twin(caps, part, why, why_size);
    return r < 0 ? r : 0;
}

int vfu_caps_parse(struct vfu_caps *ret, const char *text, size_t size, char *why, size_t why_size)
{
    struct vfu_caps caps;
    vfu_caps_default(&caps);
    if (size == 0) {
        *ret = caps;
        return 0;
    }
    if (text[size - 1] != '\0') {
        snprintf(why, why_size, "the capabilities do not end in NUL");
        return -EPROTO;
    }
    _cleanup_(tokener_free) struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (!tokener)
        return -ENOMEM;
    _cleanup_(json_put) struct json_object *root =
        json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    if (!root || json_tokener_get_error(tokener) != json_tokener_success ||
        !json_object_is_type(root, json_type_object)) {
        snprintf(why, why_size, "the capabilities are not a JSON object");
        return -EPROTO;
    }
    struct json_object *members;
    int r = get_object(root, "capabilities", &members, why, why_size);
    if (r > 0)
        r = parse_members(&caps, members, why, why_size);
    if (r < 0)
        return r;
    *ret = caps;
    return 0;
}

int vfu_caps_format(const struct vfu_caps *caps, char *text, size_t size)
{
    char twin[64] = "";
    if (caps->twin_socket && caps->twin_fd_index >= 0)
        snprintf(twin, sizeof twin, ",\"twin_socket\":{\"supported\":true,\"fd_index\":%d}",
                 caps->twin_fd_index);
    else if (caps->twin_socket)
        snprintf(twin, sizeof twin, ",\"twin_socket\":{\"supported\":true}");
    int n = snprintf(text, size, "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u%s}}",
                     caps->max_msg_fds, caps->max_data_xfer_bytes, twin);
    return n < 0 || (size_t)n >= size ? -ENOSPC : n + 1;
}
