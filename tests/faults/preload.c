/* Faults from outside, brought into any dynamically linked program with LD_PRELOAD: allocations that fail,
 * system calls on files that fail, fall short or are the last thing the process does, clocks that go
 * backwards. What is wanted is in the environment:
 *
 *   KM_FAULT_ALLOCATION=N   the N-th allocation (from 1) of the process fails; N+ that and all later ones
 *   KM_FAULT_CALL=N:WHAT    the N-th system call that changes a file: an errno's name (ENOSPC, EIO, EINTR: it fails
 *                           so), `full` (it and all later ones fail with ENOSPC), `short` (a write takes half of its
 *                           bytes), `kill` (SIGKILL in its place), `term` (SIGTERM to the process before it)
 *   KM_FAULT_CLOCK=back     the wall clock goes back an hour at every look, the monotonic one ahead by a second
 *   KM_FAULT_REPORT=FILE    at a usual end, FILE gets the line "allocations A calls C synced S"
 *
 * Allocations are counted in malloc(), calloc(), realloc() and the aligned ones, in which all libraries end.
 * Calls that change a file are write(), pwrite(), writev(), fsync(), fdatasync(), ftruncate(), rename(),
 * unlink(), mkdir() and open() with O_CREAT - but what goes to stderr is not counted. libc makes most of them
 * without a symbol that could be replaced, so the kernel is asked for a signal at each (seccomp,
 * SECCOMP_RET_TRAP), whose handler makes the call or does not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define RESULT(c)    (c)->uc_mcontext.gregs[REG_RAX]
#define ARGUMENT(c, i)                                                                                       \
    ((long)(c)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8}[i]])
#elif defined __aarch64__
#define ARCHITECTURE   AUDIT_ARCH_AARCH64
#define RESULT(c)      (c)->uc_mcontext.regs[0]
#define ARGUMENT(c, i) ((long)(c)->uc_mcontext.regs[i])
#else
#error "which registers carry a system call's arguments?"
#endif

/* glibc's own, which need no look-up before they can be used. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

/* --- allocations --------------------------------------------------------------------------------------- */

static atomic_ulong allocations;
static unsigned long failing; /* 0: none */
static bool failing_on, refused;

static bool allocation_fails(void)
{
    unsigned long number = atomic_fetch_add(&allocations, 1) + 1;
    bool fails = failing && (number == failing || (failing_on && number > failing));
    if (fails)
        errno = ENOMEM;
    return fails;
}

void *malloc(size_t bytes)
{
    return allocation_fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    return allocation_fails() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *p, size_t bytes)
{
    return allocation_fails() ? NULL : __libc_realloc(p, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    return allocation_fails() ? NULL : __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    *out = memalign(alignment, bytes);
    return *out ? 0 : ENOMEM;
}

/* --- clocks -------------------------------------------------------------------------------------------- */

static bool clock_back;
static atomic_long looks;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int status = (int)syscall(SYS_clock_gettime, clock, out);
    if (clock_back && status == 0) {
        long number = atomic_fetch_add(&looks, 1);
        out->tv_sec += clock == CLOCK_REALTIME ? -3600 * number : number;
    }
    return status;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

/* --- system calls -------------------------------------------------------------------------------------- */

#define LET_PASS 0x6b6d6661756c7400 /* as a sixth argument, which none of these calls takes */

static const int watched[] = {
    SYS_write,     SYS_pwrite64,  SYS_writev,   SYS_fsync,   SYS_fdatasync,
    SYS_ftruncate, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,
#ifdef SYS_rename
    SYS_rename,    SYS_unlink,    SYS_mkdir,
#endif
    SYS_renameat,  SYS_openat,
};
#define WATCHED (sizeof watched / sizeof *watched)

static atomic_ulong calls, synced;
static unsigned long call_at; /* 0: none */
static char call_what[16];

static long fault_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EINTR", EINTR}, {"full", ENOSPC}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].number;
    return 0;
}

static long make(int number, const long *a)
{
    long status = syscall(number, a[0], a[1], a[2], a[3], a[4], LET_PASS);
    return status < 0 ? -errno : status;
}

static void on_call(int signal_number, siginfo_t *info, void *context_pointer)
{
    ucontext_t *context = context_pointer;
    int saved = errno, call = info->si_syscall;
    (void)signal_number;
    long a[5];
    for (int i = 0; i < 5; i++)
        a[i] = ARGUMENT(context, i);
    unsigned long number = atomic_fetch_add(&calls, 1) + 1;
    synced += call == SYS_fsync || call == SYS_fdatasync;
    bool mine = number == call_at, writes = call == SYS_write || call == SYS_pwrite64;
    long failure =
        mine || (call_at && number > call_at && strcmp(call_what, "full") == 0) ? fault_number(call_what) : 0;
    struct iovec half;
    if (mine && strcmp(call_what, "kill") == 0)
        syscall(SYS_kill, getpid(), SIGKILL);
    if (mine && strcmp(call_what, "term") == 0)
        syscall(SYS_kill, getpid(), SIGTERM);
    if (mine && writes && strcmp(call_what, "short") == 0 && a[2] > 1)
        a[2] /= 2;
    if (mine && call == SYS_writev && strcmp(call_what, "short") == 0 && a[2] > 0) {
        half = *(const struct iovec *)(uintptr_t)a[1];
        half.iov_len -= half.iov_len / 2;
        a[1] = (long)(uintptr_t)&half;
        a[2] = 1;
    }
    RESULT(context) = failure ? -failure : make(call, a);
    errno = saved;
}

#define LOAD(field)        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(what, then)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(what), then, 0)
#define UNLESS(what, then) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(what), 0, then)
#define END(how)           BPF_STMT(BPF_RET | BPF_K, how)

static bool watch_calls(void)
{
    struct sock_filter filter[40];
    unsigned short n = 0;
    const struct sock_filter head[] = {LOAD(arch),
                                       IF(ARCHITECTURE, 1),
                                       END(SECCOMP_RET_ALLOW),
                                       LOAD(args[5]),
                                       UNLESS(LET_PASS, 3),
                                       LOAD(args[5]) /* its upper half */,
                                       UNLESS(LET_PASS >> 32, 1),
                                       END(SECCOMP_RET_ALLOW),
                                       LOAD(nr)};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        filter[n++] = head[i];
    filter[5].k += 4;
    for (size_t i = 0; i < WATCHED; i++)
        filter[n++] = (struct sock_filter)IF(watched[i], (unsigned char)(WATCHED - i));
    const struct sock_filter tail[] = {END(SECCOMP_RET_ALLOW), /* another call */
                                       IF(SYS_openat, 5),
                                       UNLESS(SYS_write, 3),
                                       LOAD(args[0]),
                                       UNLESS(STDERR_FILENO, 1),
                                       END(SECCOMP_RET_ALLOW),
                                       END(SECCOMP_RET_TRAP),
                                       LOAD(args[2]), /* opens: those that create */
                                       BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT, 0, 1),
                                       END(SECCOMP_RET_TRAP),
                                       END(SECCOMP_RET_ALLOW)};
    for (size_t i = 0; i < sizeof tail / sizeof *tail; i++)
        filter[n++] = tail[i];
    const struct sock_fprog program = {n, filter};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* --- beginning and end --------------------------------------------------------------------------------- */

static const char *report;

__attribute__((constructor)) static void begin(void)
{
    const char *allocation = getenv("KM_FAULT_ALLOCATION"), *call = getenv("KM_FAULT_CALL"),
               *clock = getenv("KM_FAULT_CLOCK");
    report = getenv("KM_FAULT_REPORT");
    clock_back = clock && strcmp(clock, "back") == 0;
    if (call) {
        char *colon;
        call_at = strtoul(call, &colon, 10);
        snprintf(call_what, sizeof call_what, "%s", *colon ? colon + 1 : "");
    }
    refused = (call || report) && !watch_calls();
    if (refused)
        call_at = 0;
    allocations = calls = synced = 0; /* what comes before main() is the loader's */
    if (allocation) {
        char *end;
        failing = strtoul(allocation, &end, 10);
        failing_on = *end == '+';
    }
}

__attribute__((destructor)) static void end(void)
{
    char line[120];
    if (!report)
        return;
    unsigned long call_count = calls, sync_count = synced;
    int length = snprintf(line, sizeof line, "allocations %lu calls %lu synced %lu\n",
                          (unsigned long)allocations, refused ? 0 : call_count, sync_count);
    const long open_arguments[5] = {AT_FDCWD, (long)(uintptr_t)report, O_WRONLY | O_CREAT | O_TRUNC, 0666};
    long file = make(SYS_openat, open_arguments);
    if (file >= 0)
        make(SYS_write, (const long[5]){file, (long)(uintptr_t)line, length});
}
