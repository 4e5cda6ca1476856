#include "base/outfile.h"

#include "base/leftovers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- one file ------------------------------------------------------------------------------------------ */

static enum km_status fail(const struct km_outfile *file, int reason, struct km_error *error)
{
    return km_fail(error, KM_IO, file->path, 0, 0, "cannot write: %s", strerror(reason));
}

/* Between our open() and our lock its owner may have renamed the temporary: then what we hold is no longer
 * it. */
static bool is_still(const char *path, int descriptor)
{
    struct stat held, there;
    return fstat(descriptor, &held) == 0 && stat(path, &there) == 0 && held.st_dev == there.st_dev &&
           held.st_ino == there.st_ino;
}

/* The temporary, locked and empty; -1 with *busy, or with errno. Where the file system knows no locks,
 * without. */
static int open_temporary(const char *path, bool *busy)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *busy = false;
    for (;;) {
        int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (descriptor < 0)
            return -1;
        *busy = fcntl(descriptor, F_SETLK, &lock) != 0 && (errno == EACCES || errno == EAGAIN);
        if (!*busy && is_still(path, descriptor)) {
            if (ftruncate(descriptor, 0) == 0)
                return descriptor;
            int reason = errno;
            close(descriptor);
            errno = reason;
            return -1;
        }
        close(descriptor);
        if (*busy)
            return -1;
    }
}

enum km_status km_outfile_open(struct km_outfile *file, const char *path, struct km_error *error)
{
    *file = (struct km_outfile){0};
    if (strlen(path) >= sizeof file->path)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "output path longer than %zu bytes",
                       sizeof file->path - 1);
    strcpy(file->path, path);
    struct stat info;
    if (stat(path, &info) == 0 &&
        !S_ISREG(info.st_mode)) { /* a device or a pipe is written to, never replaced */
        file->stream = fopen(path, "wb");
        return file->stream ? KM_OK : fail(file, errno, error);
    }
    bool busy;
    sigset_t later, usual; /* none of these comes between the temporary and its entry in the list */
    sigemptyset(&later);
    static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        sigaddset(&later, ends[i]);
    snprintf(file->temporary, sizeof file->temporary, "%s.kingman.tmp", path);
    pthread_sigmask(SIG_BLOCK, &later, &usual);
    int descriptor = open_temporary(file->temporary, &busy), reason = errno;
    if (descriptor >= 0)
        km_leftover_note(file->temporary);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    if (busy)
        return km_fail(error, KM_BAD_INPUT, path, 0, 0, "another process is writing it");
    if (descriptor < 0)
        return fail(file, reason, error);
    file->stream = fdopen(descriptor, "wb");
    if (file->stream)
        return KM_OK;
    reason = errno;
    unlink(file->temporary);
    km_leftover_forget(file->temporary);
    close(descriptor);
    return fail(file, reason, error);
}

void km_outfile_note(struct km_outfile *file)
{
    if (!file->lost && ferror(file->stream))
        file->lost = errno;
}

/* All is written - and on the disk, where it will replace something that a machine losing its power would
 * have kept. */
static enum km_status finish(const struct km_outfile *file, struct km_error *error)
{
    if (file->lost)
        return fail(file, file->lost, error);
    bool replaces = file->temporary[0] && access(file->path, F_OK) == 0;
    if (ferror(file->stream) || fflush(file->stream) != 0 || (replaces && fsync(fileno(file->stream)) != 0))
        return fail(file, errno, error);
    return KM_OK;
}

static enum km_status appear(struct km_outfile *file, struct km_error *error)
{
    if (file->temporary[0] && rename(file->temporary, file->path) != 0)
        return fail(file, errno, error);
    km_leftover_forget(file->temporary);
    FILE *stream = file->stream;
    file->stream = NULL;
    return fclose(stream) == 0 ? KM_OK : fail(file, errno, error);
}

enum km_status km_outfiles_commit(struct km_outfile *const *files, size_t count, struct km_error *error)
{
    const struct km_outfile *seal = files[count - 1];
    enum km_status status = KM_OK;
    for (size_t i = 0; i < count && status == KM_OK; i++)
        status = finish(files[i], error);
    if (status == KM_OK && count > 1 && seal->temporary[0] && unlink(seal->path) != 0 && errno != ENOENT)
        status = fail(seal, errno, error);
    for (size_t i = 0; i < count && status == KM_OK; i++)
        status = appear(files[i], error);
    for (size_t i = 0; i < count; i++)
        km_outfile_abort(files[i]);
    return status;
}

enum km_status km_outfile_commit(struct km_outfile *file, struct km_error *error)
{
    return km_outfiles_commit(&file, 1, error);
}

/* Gone before its lock is, so that nobody else's is removed. */
static void drop_temporary(const struct km_outfile *file)
{
    if (file->temporary[0])
        unlink(file->temporary);
    km_leftover_forget(file->temporary);
}

void km_outfile_abort(struct km_outfile *file)
{
    if (!file->stream)
        return;
    drop_temporary(file);
    fclose(file->stream);
    file->stream = NULL;
}

enum km_status km_file_write(const char *path, const struct km_text *text, struct km_error *error)
{
    struct km_outfile file;
    enum km_status status = km_outfile_open(&file, path, error);
    if (status != KM_OK)
        return status;
    fwrite(km_text_c(text), 1, text->length, file.stream);
    return km_outfile_commit(&file, error);
}
