/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register-read.h"
#include "base/fds.h"
#include "discover-view.h"
#include "domain-items.h"
#include "json-util.h"
#include "output.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Not read_file(): that opens without blocking, and a pipe may be slow. */
static int read_whole(int fd, size_t max, char **ret)
{
    _cleanup_free_ char *text = malloc(max + 1);
    size_t size = 0;
    if (!text)
        return -ENOMEM;
    for (;;) {
        ssize_t n = read(fd, text + size, max - size);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            break;
        if (n > 0 && (size += (size_t)n) >= max)
            return -EFBIG;
    }
    text[size] = '\0';
    if (strlen(text) != size)
        return -EILSEQ;
    *ret = TAKE_PTR(text);
    return 0;
}

static int read_domain_file(struct domain_spec *spec, const char *path, struct mig_error *err)
{
    _cleanup_free_ char *text = NULL;
    bool standard_input = strcmp(path, "-") == 0;
    const char *label = standard_input ? "standard input" : path;
    _cleanup_close_ int fd = standard_input ? fd_dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? (standard_input ? fd : -errno) : read_whole(fd, DOMAIN_FILE_MAX_BYTES, &text);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -r, "cannot read %s: %s", label,
                             r == -EFBIG    ? "it is too large for a domain file"
                             : r == -EILSEQ ? "it is not text"
                                            : strerror(-r));
    return domain_spec_read_json(spec, label, text, err);
}

int register_read(struct domain_spec *spec, const struct args *args, struct register_found *found,
                  struct mig_error *err)
{
    spec->name = strdup(args->positional[0]);
    if (!spec->name)
        return mig_error_oom(err);
    spec->incoming = args_has(args, OPT_INCOMING);
    int r = args_has(args, OPT_FILE) ? read_domain_file(spec, args_value(args, OPT_FILE), err) : 0;
    for (size_t i = 0; r == 0 && i < args->n_given; i++) {
        const char *value = args->given[i].value;
        switch (args->given[i].id) {
        case OPT_MEMORY:
            r = domain_spec_add_memory(spec, value, err);
            break;
        case OPT_CONTAINER:
            r = domain_spec_add_container(spec, value, err);
            break;
        case OPT_DEVICE:
            r = domain_spec_add_device(spec, value, err);
            break;
        case OPT_TRACKER:
            r = domain_spec_add_tracker(spec, value, err);
            break;
        case OPT_QMP:
            free(spec->qmp);
            if (!(spec->qmp = strdup(value)))
                r = mig_error_oom(err);
            break;
        case OPT_NO_CONTAINERS:
            spec->no_containers = true;
            break;
        case OPT_CPU_TRACKER:
            free(spec->cpu_tracker);
            if (!(spec->cpu_tracker = strdup(value)))
                r = mig_error_oom(err);
            break;
        case OPT_CONTROLLER:
            r = domain_spec_set_controller(spec, value, err);
            break;
        default:
            break;
        }
    }
    if (r == 0)
        r = args_has(args, OPT_PID) ? register_pid(spec, args, &found->process, &found->missing, err)
                                    : register_pid_refuse_options(args, err);
    if (r == 0 && spec->qmp && spec->controller.type)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "--qmp names the controller: leave the other one out");
    if (r == 0 && spec->no_containers && !spec->qmp)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--no-containers goes with --qmp");
    if (r == 0 && spec->cpu_tracker && !spec->qmp)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--cpu-tracker goes with --qmp");
    return r < 0 ? r : domain_spec_check(spec, err);
}

int register_show_found(const struct register_found *found, const struct args *args,
                        const struct mig_error *err)
{
    if (arg_json) {
        _cleanup_json_ struct json_object *o = discovery_to_json(&found->process, args);
        if (o && err)
            output_error_to_json(err, o);
        if (o)
            output_json(o);
    } else {
        discovery_print(&found->process, args, found->missing);
    }
    if (err) {
        if (!arg_json)
            putchar('\n');
        output_error_text(err);
    }
    int r = output_finish();
    return err ? mig_error_exit_code(err->code) : r;
}
