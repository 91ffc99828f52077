/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl libvirt enable-hook and disable-hook: one file in libvirt's folder of hooks, a script that starts
 * the hook program with its options. */
#include "base/fds.h"
#include "json-util.h"
#include "libvirt-verbs.h"
#include "output.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HOOKS_DIR "/etc/libvirt/hooks" /* built into libvirt; distributions do not change it */
#define FILE_MAX  4096u
#define MARK      "# Written by `migctl libvirt enable-hook`"
#define PROGRAM   PKGLIBEXECDIR "/libvirt-hook"
#define RELOAD    "systemctl reload libvirtd" /* SIGHUP; virtqemud where the daemons are split */

static const char path[] = HOOKS_DIR "/qemu.d/migd";

static int make_script(const struct args *args, char *text, size_t size, struct mig_error *err)
{
    const char *without = args_has(args, OPT_WITHOUT_MIGD) ? args_value(args, OPT_WITHOUT_MIGD) : "pass";
    if (strcmp(without, "pass") != 0 && strcmp(without, "refuse") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "--without-migd: \"%.40s\" is neither pass nor refuse", without);
    snprintf(
        text, size,
        "#!/bin/sh\n" MARK "; `migctl libvirt disable-hook` removes it.\n"
        "# libvirt kills a running guest whose hook fails when libvirt is restarted: what is not there any "
        "more must not fail.\n"
        "[ -x " PROGRAM " ] || exit 0\n"
        "exec " PROGRAM " --without-migd=%s \"$@\"\n",
        without);
    return 0;
}

/* *ret NULL: there is none. Exists for one that somebody else wrote. */
static int read_present(char **ret, struct mig_error *err)
{
    *ret = NULL;
    int r = read_file(path, FILE_MAX, ret, NULL);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0 && r != -EFBIG)
        return mig_error_set(err, r == -EACCES ? MIG_ERR_NOT_ALLOWED : MIG_ERR_FAILED, -r,
                             "cannot read %s: %s", path, strerror(-r));
    if (r == 0 && strstr(*ret, MARK))
        return 0;
    r = mig_error_set(err, MIG_ERR_EXISTS, 0, "%s is there, and migctl did not write it", path);
    mig_error_hint(err, "Move it away; libvirt runs every program in " HOOKS_DIR "/qemu.d");
    return r;
}

static int cannot(const char *what, struct mig_error *err)
{
    int e = errno;
    int r = mig_error_set(err, e == EACCES || e == EPERM ? MIG_ERR_NOT_ALLOWED : MIG_ERR_FAILED, e,
                          "cannot %s %s: %s", what, path, strerror(e));
    if (e == ENOENT)
        mig_error_hint(err, "Is libvirt installed? Its packages make " HOOKS_DIR);
    return r;
}

static int write_script(const char *text, struct mig_error *err)
{
    if (mkdir(HOOKS_DIR "/qemu.d", 0755) < 0 && errno != EEXIST)
        return cannot("make the folder of", err);
    int r = write_file_atomic(path, text, strlen(text));
    if (r == 0 && chmod(path, 0755) < 0)
        r = -errno;
    errno = -r;
    return r < 0 ? cannot("write", err) : 0;
}

static int tell(const char *done, bool dry, const char *text)
{
    if (arg_json) {
        _cleanup_json_ struct json_object *o = json_object_new_object();
        json_object_object_add(o, "file", json_object_new_string(path));
        json_object_object_add(o, "change", json_object_new_string(done));
        json_object_object_add(o, "dry-run", json_object_new_boolean(dry));
        if (text)
            json_object_object_add(o, "content", json_object_new_string(text));
        json_object_object_add(o, "then", json_object_new_string(RELOAD));
        output_json(o);
        return output_finish();
    }
    if (strcmp(done, "none") == 0) {
        printf("%s is as it should be; nothing was changed.\n", path);
        return output_finish();
    }
    printf("%s %s%s\n", dry ? "Would be" : "Was", done, text && dry ? ":" : ".");
    printf("  %s\n", path);
    if (text && dry)
        printf("%s", text);
    printf("\nlibvirt looks for hooks when it starts or is told to: " RELOAD "\n"
           "(where its daemons are split: systemctl reload virtqemud). Guests run on.\n");
    return output_finish();
}

int libvirt_enable_hook(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    char text[FILE_MAX];
    _cleanup_free_ char *present = NULL;
    bool dry = args_has(args, OPT_DRY_RUN);
    if (make_script(args, text, sizeof text, &err) < 0 || read_present(&present, &err) < 0)
        return output_error(&err);
    if (present && strcmp(present, text) == 0)
        return tell("none", dry, NULL);
    if (access(PROGRAM, X_OK) < 0) {
        mig_error_set(&err, MIG_ERR_NO_SUCH_OBJECT, errno, "the hook program %s is not there", PROGRAM);
        mig_error_hint(&err, "It comes with migd: make install, or its package");
        return output_error(&err);
    }
    if (!dry && write_script(text, &err) < 0)
        return output_error(&err);
    return tell(present ? "rewritten" : "written", dry, text);
}

int libvirt_disable_hook(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_free_ char *present = NULL;
    bool dry = args_has(args, OPT_DRY_RUN);
    if (read_present(&present, &err) < 0)
        return output_error(&err);
    if (!present)
        return tell("none", dry, NULL);
    if (!dry && unlink(path) < 0) {
        cannot("remove", &err);
        return output_error(&err);
    }
    return tell("removed", dry, NULL);
}
