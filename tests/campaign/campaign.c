/* campaign [--jobs N] [--apart] CASES [SEED] [FIRST]: check so many random scenarios, and print the first
 * that breaks a law, shrunk, as a scenario and a trace that can be run again. Exit 0 when all laws hold. */
#include "base/progress.h"
#include "campaign/check.h"
#include "campaign/draw.h"
#include "campaign/shrink.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_JOBS      256
#define MOST_RELATIONS 32

/* Of one worker, in memory that it shares with the parent: a worker may crash at any case. */
struct worker {
    pid_t pid;
    bool at_work;
    uint64_t current; /* the case it is at */
    uint64_t done, ran, answered_no, refused, passed_over;
    uint64_t held[MOST_RELATIONS], came_across[FEATURES];
};

struct campaign {
    const struct keys *keys;
    uint64_t cases, seed, first;
    uint32_t jobs;
    char folder[64];        /* of all workers; each has its own in it */
    struct worker *workers; /* [jobs] shared */
};

/* Faults that are known and open: a complaint of this law that holds this text is passed over. It is to be
 * empty. */
static const struct {
    const char *law, *text;
} known_faults[] = {
    {NULL, NULL},
};

static bool is_known_fault(const struct complaint *complaint)
{
    for (size_t i = 0; known_faults[i].law; i++)
        if (strncmp(complaint->text, known_faults[i].law, strlen(known_faults[i].law)) == 0 &&
            strstr(complaint->text, known_faults[i].text))
            return true;
    return false;
}

static void draw(const struct campaign *campaign, uint64_t number, struct km_arena *arena,
                 struct random_scenario *c)
{
    draw_case(campaign->keys, campaign->seed, number, arena, c);
    c->relation = (uint32_t)(number % relation_count);
}

static void worker_folder(const struct campaign *campaign, uint32_t index, char *out, size_t size)
{
    snprintf(out, size, "%s/%u", campaign->folder, index);
}

/* Cases index, index + jobs, ...: ends with exit code 1 at the first complaint. */
static _Noreturn void work(const struct campaign *campaign, uint32_t index)
{
    static struct random_scenario c;
    static struct checked checked;
    struct worker *worker = &campaign->workers[index];
    char folder[128];
    worker_folder(campaign, index, folder, sizeof folder);
    for (uint64_t i = index; i < campaign->cases; i += campaign->jobs) {
        struct km_arena arena = {0};
        worker->current = campaign->first + i;
        alarm(LONGEST_CASE_S);
        draw(campaign, worker->current, &arena, &c);
        check_case(&c, folder, &checked);
        bool passed_over = is_known_fault(&checked.complaint);
        if (checked.complaint.text[0] && !passed_over)
            _exit(1);
        worker->passed_over += passed_over;
        worker->ran += checked.status == KM_OK;
        worker->answered_no += checked.status == KM_NO;
        worker->refused += checked.status == KM_BAD_INPUT;
        for (int feature = 0; feature < FEATURES; feature++)
            worker->came_across[feature] += checked.features[feature];
        worker->held[c.relation] += checked.relation_verdict == HELD;
        worker->done++;
        km_arena_release(&arena);
    }
    _exit(0);
}

static void start(struct campaign *campaign, uint32_t index)
{
    char folder[128];
    worker_folder(campaign, index, folder, sizeof folder);
    if (access(folder, W_OK) != 0) {
        char command[160];
        snprintf(command, sizeof command, "mkdir -p %s", folder);
        if (system(command) != 0)
            abort();
    }
    fflush(NULL);
    struct worker *worker = &campaign->workers[index];
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0)
        work(campaign, index);
    worker->pid = pid;
    worker->at_work = true;
}

static uint64_t total(const struct campaign *campaign, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < campaign->jobs; i++)
        sum += *(const uint64_t *)(const void *)((const char *)&campaign->workers[i] + offset);
    return sum;
}

/* Wait for all; the worker that failed first, or -1. The others are stopped then. */
static int wait_for_workers(struct campaign *campaign)
{
    struct km_progress progress;
    int failed = -1;
    km_progress_begin(&progress, stderr, "campaign");
    for (uint32_t left = campaign->jobs; left > 0;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0) {
            const struct timespec pause = {.tv_nsec = 100000000};
            nanosleep(&pause, NULL);
            km_progress_tell(&progress, (double)total(campaign, offsetof(struct worker, done)) /
                                            (double)campaign->cases);
            continue;
        }
        for (uint32_t i = 0; i < campaign->jobs; i++) {
            if (campaign->workers[i].pid != pid)
                continue;
            left--;
            campaign->workers[i].at_work = false;
            if (failed < 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
                failed = (int)i;
        }
        for (uint32_t i = 0; failed >= 0 && i < campaign->jobs; i++)
            if (campaign->workers[i].at_work)
                kill(campaign->workers[i].pid, SIGKILL);
    }
    km_progress_end(&progress);
    return failed;
}

static void print_case(const struct random_scenario *c, const char *title)
{
    struct km_text text = {0};
    km_text_printf(&text, "--- %s ---\n", title);
    case_yaml(c, &text);
    if (c->row_count) {
        km_text_puts(&text, "--- trace ---\n");
        case_trace(c, &text);
    }
    fputs(km_text_c(&text), stdout);
    km_text_release(&text);
}

static void check_in_folder(const struct random_scenario *c, void *folder, struct complaint *out)
{
    static struct checked checked;
    check_apart(c, folder, &checked);
    *out = checked.complaint;
}

static void tell(const struct campaign *campaign, uint64_t number, char *folder)
{
    static struct random_scenario c;
    static struct checked checked;
    struct km_arena arena = {0};
    draw(campaign, number, &arena, &c);
    check_apart(&c, folder, &checked);
    printf("case %" PRIu64 " of seed %" PRIu64 ", relation \"%s\"\n%s\n", number, campaign->seed,
           relations[c.relation].name,
           checked.complaint.text[0] ? checked.complaint.text : "(not a second time)");
    if (!checked.complaint.text[0]) {
        print_case(&c, "case.yaml");
    } else {
        fprintf(stderr, "shrinking ...\n");
        shrink_case(&c, check_in_folder, folder, &checked.complaint);
        printf("shrunk: %s\n", checked.complaint.text);
        print_case(&c, "case.yaml");
    }
    km_arena_release(&arena);
}

static void summarize(const struct campaign *campaign)
{
    uint64_t held = 0;
    printf("%" PRIu64 " cases of seed %" PRIu64 ": %" PRIu64 " ran, %" PRIu64
           " cannot be laid out or do not fit, %" PRIu64 " refused\n",
           total(campaign, offsetof(struct worker, done)), campaign->seed,
           total(campaign, offsetof(struct worker, ran)),
           total(campaign, offsetof(struct worker, answered_no)),
           total(campaign, offsetof(struct worker, refused)));
    for (int f = 0; f < FEATURES; f++)
        printf("%s %s %" PRIu64, f ? "," : " ", feature_names[f],
               total(campaign, offsetof(struct worker, came_across) + (size_t)f * sizeof(uint64_t)));
    printf("\n");
    for (uint32_t r = 0; r < relation_count; r++) {
        uint64_t own = total(campaign, offsetof(struct worker, held) + r * sizeof(uint64_t));
        printf("  %-40s held %" PRIu64 " times\n", relations[r].name, own);
        held += own;
    }
    if (total(campaign, offsetof(struct worker, passed_over)))
        printf("  %" PRIu64 " broke a law by a fault that is known and open\n",
               total(campaign, offsetof(struct worker, passed_over)));
    printf("  relations together held %" PRIu64 " times; no law was broken\n", held);
}

static int usage(void)
{
    fprintf(stderr, "usage: campaign [--jobs N] [--relations] CASES [SEED [FIRST]]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct campaign campaign = {.seed = 1, .jobs = 1, .folder = "/dev/shm/kingman-campaign-XXXXXX"};
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--relations") == 0) {
            for (uint32_t r = 0; r < relation_count; r++)
                printf("%s\n    %s\n", relations[r].name, relations[r].holds);
            return 0;
        }
        if (strcmp(argv[at], "--jobs") != 0 || at + 1 == argc)
            return usage();
        campaign.jobs = (uint32_t)strtoul(argv[++at], NULL, 10);
    }
    if (at >= argc || campaign.jobs == 0 || campaign.jobs > MOST_JOBS)
        return usage();
    campaign.cases = strtoull(argv[at], NULL, 10);
    campaign.seed = at + 1 < argc ? strtoull(argv[at + 1], NULL, 10) : 1;
    campaign.first = at + 2 < argc ? strtoull(argv[at + 2], NULL, 10) : 0;
    if (access("/dev/shm", W_OK) != 0)
        memcpy(campaign.folder, "/tmp/kingman-campaign-XXXXXX", sizeof "/tmp/kingman-campaign-XXXXXX");
    struct keys *keys = keys_create();
    campaign.keys = keys;
    campaign.workers = mmap(NULL, campaign.jobs * sizeof *campaign.workers, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (campaign.workers == MAP_FAILED || !mkdtemp(campaign.folder) || relation_count > MOST_RELATIONS)
        abort();
    for (uint32_t i = 0; i < campaign.jobs; i++)
        start(&campaign, i);
    int failed = wait_for_workers(&campaign);
    char folder[128], command[160];
    worker_folder(&campaign, failed < 0 ? 0 : (uint32_t)failed, folder, sizeof folder);
    if (failed >= 0)
        tell(&campaign, campaign.workers[failed].current, folder);
    else
        summarize(&campaign);
    snprintf(command, sizeof command, "rm -r %s", campaign.folder);
    if (system(command) != 0)
        perror(campaign.folder);
    keys_destroy(keys);
    return failed < 0 ? 0 : 1;
}
