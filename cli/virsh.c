/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Input and output are files in memory, so that nobody waits for a pipe. */
#include "virsh.h"
#include "base/fds.h"
#include "output.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ARGUMENTS_MAX 16u

extern char **environ;

static char *read_back(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size >= 0 && (size_t)size <= VIRSH_OUTPUT_MAX ? malloc((size_t)size + 1) : NULL;
    if (text && pread_full(fd, text, (size_t)size, 0) < 0) {
        free(text);
        return NULL;
    }
    if (text)
        text[size] = '\0';
    return text;
}

static int spawn(const char *const arguments[], int input, int output, int errors, pid_t *ret)
{
    const char *argv[ARGUMENTS_MAX + 2] = {"virsh"};
    posix_spawn_file_actions_t actions;
    for (size_t i = 0; arguments[i] && i < ARGUMENTS_MAX; i++)
        argv[i + 1] = arguments[i];
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (r == 0)
        r = posix_spawnp(ret, "virsh", &actions, NULL, (char **)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int failed(int status, int errors, const char *verb, struct mig_error *err)
{
    _cleanup_free_ char *text = read_back(errors);
    const char *said = text ? text : "";
    if (strncmp(said, "error: ", 7) == 0)
        said += 7;
    int length = (int)strcspn(said, "\n");
    bool unknown = text && strstr(text, "Domain not found");
    int r = mig_error_set(err, unknown ? MIG_ERR_NO_SUCH_DOMAIN : MIG_ERR_FAILED, 0, "virsh %s failed: %.*s",
                          verb, length ? MIN(length, 400) : 18, length ? said : "it gave no reason");
    output_make_safe(err->message);
    if (unknown)
        mig_error_hint(err, "virsh list --all shows the domains of libvirt");
    else if (WIFEXITED(status) && text && strstr(text, "connect"))
        mig_error_hint(err, "Does libvirt run, and may this user use it?");
    return r;
}

int virsh_run(const char *const arguments[], const char *input, char **ret_output, struct mig_error *err)
{
    _cleanup_close_ int in = memfd_create("virsh-in", MFD_CLOEXEC),
                        out = memfd_create("virsh-out", MFD_CLOEXEC);
    _cleanup_close_ int errors = memfd_create("virsh-err", MFD_CLOEXEC);
    pid_t pid;
    int status;
    if (in < 0 || out < 0 || errors < 0 || (input && write_full(in, input, strlen(input)) < 0) ||
        lseek(in, 0, SEEK_SET) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "virsh cannot be started: %s", strerror(errno));
    int r = spawn(arguments, in, out, errors, &pid);
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_FAILED, -r, "virsh cannot be started: %s", strerror(-r));
        mig_error_hint(err, "It comes with libvirt (package libvirt-clients)");
        return r;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return mig_error_set(err, MIG_ERR_FAILED, errno, "virsh is lost: %s", strerror(errno));
    if (status != 0)
        return failed(status, errors, arguments[0][0] == '-' ? arguments[1] : arguments[0], err);
    if (ret_output && !(*ret_output = read_back(out)))
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "virsh says more than %zu bytes", VIRSH_OUTPUT_MAX);
    return 0;
}
