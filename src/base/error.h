/* Errors: one status, one message, filled once where the fault is seen.
 *
 * A function that can fail for the user's sake returns `enum km_status` and takes a `struct km_error *` which
 * it fills by km_fail() exactly once; callers pass it up untouched; only main() prints it and turns the
 * status into an exit code. A programmer's error is an assert, never a status. Running out of memory ends the
 * process (see memory.h). */
#ifndef KM_BASE_ERROR_H
#define KM_BASE_ERROR_H

enum km_status {
    KM_OK = 0,
    KM_BAD_INPUT = -1, /* the user's file, flag or value is wrong: exit 2 */
    KM_IO = -2,        /* a file could not be read or written: exit 2 */
    KM_NO = -3,        /* a well-posed question whose answer is no (model does not fit, SLO missed): exit 1 */
    KM_INTERRUPTED = -4, /* Ctrl-C: exit 130 */
    KM_FAILED = -5,      /* what runs the steps failed in the middle of a run: exit 3 */
};

struct km_error {
    enum km_status status;
    char file[256]; /* "" when the fault is in no file (a flag, say) */
    int line;       /* from 1; 0 = unknown */
    int column;     /* from 1; 0 = unknown */
    char message[768];
};

/* Fill `error` (which may be NULL) and return `status`, so that a failure is one statement. `file` may be
 * NULL. */
enum km_status km_fail(struct km_error *error, enum km_status status, const char *file, int line, int column,
                       const char *format, ...) __attribute__((format(printf, 6, 7)));

/* "file:line:column: message" with the parts that are known; always terminated. */
void km_error_format(const struct km_error *error, char *out, unsigned long size);

#endif
