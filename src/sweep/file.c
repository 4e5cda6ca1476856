#include "sweep/file.h"

#include "base/wall_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_EVERY_S 1

struct output {     /* a file appended to by whole lines */
    int descriptor; /* -1: none */
    FILE *reader;   /* of the same descriptor, which it closes; NULL: none */
    off_t length;
    const char *path; /* borrowed */
};

struct km_sweep_file {
    struct output rows_file, journal;
    char *journal_path;
    const struct km_rows *rows;
    uint64_t runs, written; /* rows 0 .. written - 1 are in the file */
    uint64_t waiting;
    char **held; /* [runs] line of a row that waits; NULL = none */
    void (*row)(void *context, const char *line, size_t length);
    void *context;
    double flushed_wall_s;
};

static enum km_status fail_io(const struct output *output, const char *what, struct km_error *error)
{
    return km_fail(error, KM_IO, output->path, 0, 0, "cannot %s: %s", what, strerror(errno));
}

/* --- appending ------------------------------------------------------------------------------------------ */

static enum km_status cut(struct output *output, off_t length, struct km_error *error)
{
    if (ftruncate(output->descriptor, length) != 0 || lseek(output->descriptor, length, SEEK_SET) < 0)
        return fail_io(output, "write", error);
    output->length = length;
    return KM_OK;
}

static enum km_status append(struct output *output, const char *bytes, size_t count, struct km_error *error)
{
    for (size_t done = 0; done < count;) {
        ssize_t wrote = write(output->descriptor, bytes + done, count - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            enum km_status status = fail_io(output, "write", error);
            cut(output, output->length, NULL);
            return status;
        }
        done += (size_t)wrote;
    }
    output->length += (off_t)count;
    return KM_OK;
}

static enum km_status flush(struct km_sweep_file *file, struct km_error *error)
{
    if (fsync(file->rows_file.descriptor) != 0)
        return fail_io(&file->rows_file, "write", error);
    return KM_OK;
}

/* Rows whose turn it is, by one write. */
static enum km_status write_ready(struct km_sweep_file *file, struct km_error *error)
{
    struct km_text ready = {0};
    uint64_t next = file->written;
    while (next < file->runs && file->held[next])
        km_text_puts(&ready, file->held[next++]);
    enum km_status status = KM_OK;
    if (ready.length && file->rows_file.descriptor >= 0)
        status = append(&file->rows_file, ready.bytes, ready.length, error);
    km_text_release(&ready);
    if (status != KM_OK)
        return status;
    for (; file->written < next; file->written++, file->waiting--) {
        char *line = file->held[file->written];
        file->row(file->context, line, strlen(line));
        free(line);
        file->held[file->written] = NULL;
    }
    if (file->waiting == 0 && file->journal.length > 0)
        status = cut(&file->journal, 0, error);
    return status;
}

enum km_status km_sweep_file_add(struct km_sweep_file *file, uint64_t run, const char *line, size_t length,
                                 struct km_error *error)
{
    char *copy = km_alloc(length + 1);
    memcpy(copy, line, length);
    file->held[run] = copy;
    file->waiting++;
    if (file->rows_file.descriptor < 0)
        return write_ready(file, error);
    enum km_status status =
        run == file->written ? write_ready(file, error) : append(&file->journal, line, length, error);
    double now_wall_s = km_wall_now_s();
    if (status == KM_OK && now_wall_s - file->flushed_wall_s >= FLUSH_EVERY_S) {
        file->flushed_wall_s = now_wall_s;
        status = flush(file, error);
    }
    return status;
}

bool km_sweep_file_has(const struct km_sweep_file *file, uint64_t run)
{
    return run < file->written || (run < file->runs && file->held[run]);
}

uint64_t km_sweep_file_count(const struct km_sweep_file *file)
{
    return file->written + file->waiting;
}

/* --- opening -------------------------------------------------------------------------------------------- */

static enum km_status open_locked(struct output *output, struct km_error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat info;
    output->descriptor = open(output->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (output->descriptor < 0)
        return fail_io(output, "write", error);
    if (fstat(output->descriptor, &info) != 0 || !S_ISREG(info.st_mode))
        return km_fail(error, KM_BAD_INPUT, output->path, 0, 0,
                       "not a regular file: a sweep appends to its output");
    /* One stream as long as the file is open: closing any descriptor of it would drop the lock. */
    output->reader = fdopen(output->descriptor, "r+");
    if (!output->reader)
        return fail_io(output, "read", error);
    if (fcntl(output->descriptor, F_SETLK, &lock) != 0 && (errno == EACCES || errno == EAGAIN))
        return km_fail(error, KM_BAD_INPUT, output->path, 0, 0, "another process is writing it");
    return KM_OK;
}

/* Calls line() for every line from the start, until it refuses. A line without its break, or with the zeros
 * that a lost machine leaves behind, is the last. *good: bytes of the lines taken. */
static enum km_status read_lines(struct output *output,
                                 enum km_status (*take)(struct km_sweep_file *file, const char *line,
                                                        size_t length, uint64_t number,
                                                        struct km_error *error),
                                 struct km_sweep_file *file, off_t *good, struct km_error *error)
{
    char *line = NULL;
    size_t capacity = 0;
    enum km_status status = KM_OK;
    *good = 0;
    for (uint64_t number = 1; status == KM_OK; number++) {
        errno = 0;
        ssize_t length = getline(&line, &capacity, output->reader);
        if (length < 0 && !feof(output->reader))
            status = fail_io(output, "read", error);
        if (length <= 0 || line[length - 1] != '\n' || memchr(line, '\0', (size_t)length))
            break;
        status = take(file, line, (size_t)length, number, error);
        if (status == KM_OK)
            *good += length;
    }
    free(line);
    return status;
}

#define ELSEWHERE "choose another --output, or remove it"

static enum km_status take_header(struct km_sweep_file *file, const char *line, size_t length,
                                  struct km_error *error)
{
    struct km_text header = {0};
    km_rows_write_header(file->rows, &header);
    bool same = header.length == length && memcmp(header.bytes, line, length) == 0;
    km_text_release(&header);
    return same ? KM_OK
                : km_fail(error, KM_BAD_INPUT, file->rows_file.path, 1, 0,
                          "not the output of this sweep: other columns; " ELSEWHERE);
}

static enum km_status take_row(struct km_sweep_file *file, const char *line, size_t length, uint64_t number,
                               struct km_error *error)
{
    const char *path = file->rows_file.path;
    const struct km_rows *rows = file->rows;
    if (number == 1 && rows->format == KM_ROWS_CSV)
        return take_header(file, line, length, error);
    struct km_arena arena = {0};
    const char **cells = km_arena_alloc(&arena, rows->count * sizeof *cells);
    enum km_status status = KM_OK;
    if (!km_rows_read(rows, line, length, &arena, cells))
        status = km_fail(error, KM_BAD_INPUT, path, (int)number, 0,
                         "not a row of this sweep, or changed since; " ELSEWHERE);
    else if (strcmp(cells[rows->count - 1], rows->fingerprint) != 0)
        status = km_fail(
            error, KM_BAD_INPUT, path, (int)number, 0,
            "a row of another sweep: the scenario, its overrides, a file it names or kingman's version "
            "is not what it was; " ELSEWHERE);
    else if (file->written == file->runs || km_rows_run(cells) != file->written)
        status = km_fail(error, KM_BAD_INPUT, path, (int)number, 0, "expected the row of run %llu",
                         (unsigned long long)file->written);
    if (status == KM_OK) {
        file->row(file->context, line, length);
        file->written++;
    }
    km_arena_release(&arena);
    return status;
}

/* The journal only saves work: what is odd in it is computed again. */
static enum km_status take_waiting(struct km_sweep_file *file, const char *line, size_t length,
                                   uint64_t number, struct km_error *error)
{
    (void)number, (void)error;
    struct km_arena arena = {0};
    const char **cells = km_arena_alloc(&arena, file->rows->count * sizeof *cells);
    bool ours = km_rows_read(file->rows, line, length, &arena, cells) &&
                strcmp(cells[file->rows->count - 1], file->rows->fingerprint) == 0;
    uint64_t run = ours ? km_rows_run(cells) : UINT64_MAX;
    km_arena_release(&arena);
    if (run >= file->runs || km_sweep_file_has(file, run))
        return KM_OK;
    file->held[run] = km_alloc(length + 1);
    memcpy(file->held[run], line, length);
    file->waiting++;
    return KM_OK;
}

/* Nothing whole is in the file: it is empty, or ends within its first line, which must begin as ours does. */
static enum km_status check_torn_start(struct km_sweep_file *file, struct km_error *error)
{
    char found[64] = "";
    struct km_text ours = {0};
    km_rows_write_header(file->rows, &ours);
    km_text_puts(&ours, file->rows->format == KM_ROWS_JSONL ? "{\"run\": 0" : "");
    ssize_t got = pread(file->rows_file.descriptor, found, sizeof found - 1, 0);
    enum km_status status = got < 0 ? fail_io(&file->rows_file, "read", error) : KM_OK;
    size_t length = strlen(found); /* zeros are no text */
    if (strncmp(found, km_text_c(&ours), length < ours.length ? length : ours.length) != 0)
        status = km_fail(error, KM_BAD_INPUT, file->rows_file.path, 1, 0,
                         "not the output of this sweep; " ELSEWHERE);
    km_text_release(&ours);
    return status;
}

static enum km_status begin(struct km_sweep_file *file, struct km_error *error)
{
    struct km_text header = {0};
    km_rows_write_header(file->rows, &header);
    enum km_status status = append(&file->rows_file, km_text_c(&header), header.length, error);
    km_text_release(&header);
    return status;
}

static enum km_status take_up(struct km_sweep_file *file, struct km_error *error)
{
    off_t good, waiting;
    enum km_status status = open_locked(&file->rows_file, error);
    if (status == KM_OK)
        status = read_lines(&file->rows_file, take_row, file, &good, error);
    if (status == KM_OK && good == 0)
        status = check_torn_start(file, error);
    if (status == KM_OK)
        status = open_locked(&file->journal, error);
    if (status == KM_OK)
        status = cut(&file->rows_file, good, error);
    if (status == KM_OK && good == 0)
        status = begin(file, error);
    if (status == KM_OK)
        status = read_lines(&file->journal, take_waiting, file, &waiting, error);
    if (status == KM_OK)
        status = cut(&file->journal, waiting, error);
    return status == KM_OK ? write_ready(file, error) : status;
}

static void close_output(struct output *output)
{
    if (output->reader)
        fclose(output->reader);
    else if (output->descriptor >= 0)
        close(output->descriptor);
}

static void release(struct km_sweep_file *file)
{
    close_output(&file->journal);
    close_output(&file->rows_file);
    for (uint64_t i = file->written; file->waiting && i < file->runs; i++) {
        file->waiting -= file->held[i] != NULL;
        free(file->held[i]);
    }
    free(file->held);
    free(file->journal_path);
    free(file);
}

enum km_status km_sweep_file_open(const char *path, const struct km_rows *rows, uint64_t runs,
                                  void (*row)(void *context, const char *line, size_t length), void *context,
                                  struct km_sweep_file **out, struct km_error *error)
{
    struct km_sweep_file *file = km_alloc(sizeof *file);
    *file = (struct km_sweep_file){.rows = rows, .runs = runs, .row = row, .context = context};
    file->rows_file = (struct output){.descriptor = -1, .path = path};
    file->held = km_alloc(runs * sizeof *file->held);
    file->flushed_wall_s = km_wall_now_s();
    if (path) {
        struct km_text journal = {0};
        km_text_printf(&journal, "%s.partial", path);
        file->journal_path = journal.bytes;
    }
    file->journal = (struct output){.descriptor = -1, .path = file->journal_path};
    enum km_status status = path ? take_up(file, error) : KM_OK;
    if (status != KM_OK) {
        release(file);
        return status;
    }
    *out = file;
    return KM_OK;
}

enum km_status km_sweep_file_close(struct km_sweep_file *file, struct km_error *error)
{
    enum km_status status = file->rows_file.descriptor >= 0 ? flush(file, error) : KM_OK;
    if (status == KM_OK && file->waiting == 0 && file->journal.path)
        unlink(file->journal.path);
    release(file);
    return status;
}
