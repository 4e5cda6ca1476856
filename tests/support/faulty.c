#include "support/faulty.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_BYTES ((size_t)1 << 22)

static char folder[] = "/dev/shm/kingman-faulty-XXXXXX"; /* in memory: much is flushed to it */

#define WORKLOAD                                                                                             \
    "  arrivals: {process: poisson, rate_per_s: 20}\n"                                                       \
    "  prompt_tokens: {distribution: lognormal, mean: 300, sd: 200, min: 1, max: 2000}\n"                    \
    "  output_tokens: {distribution: geometric, mean: 20}\n"

#define FLEET                                                                                                \
    "model: llama-3.1-8b\n"                                                                                  \
    "cluster: {device: h200-sxm, replicas: 2}\n"                                                             \
    "workload:\n" WORKLOAD

/* A recording of ten seconds, which is short for a plan: synthetic workloads are drawn at least 5,000
 * requests long. */
#define SECOND(second)                                                                                       \
    second ".00,300,20\n" second ".05,120,35\n" second ".20,700,4\n" second ".21,80,12\n" second             \
           ".40,500,9\n" second ".55,260,27\n"
#define RECORDING                                                                                            \
    "arrival_s,prompt_tokens,output_tokens\n" SECOND("0") SECOND("1") SECOND("2") SECOND("3") SECOND("4")    \
        SECOND("5") SECOND("6") SECOND("7") SECOND("8") SECOND("9")

static const struct {
    const char *name, *text;
} inputs[] = {
    {"run.yaml", FLEET "  requests: 40\nslo: {ttft_p99_s: 1.0}\n"},
    {"sweep.yaml",
     FLEET "  requests: 40\nsweep: {workload.requests: [60, 10, 30], cluster.replicas: [1, 2]}\n"},
    {"plan.yaml", "model: llama-3.1-8b\n"
                  "cluster: {device: h200-sxm}\n"
                  "workload: {trace: recording.csv}\n"
                  "slo: {ttft_p50_s: 1.0}\n"
                  "search: {max_gpus: 2, cluster.tensor_parallel_size: [1, 2]}\n"},
    {"recording.csv", RECORDING},
    {"queue.yaml", "queue:\n"
                   "  discipline: mg1\n"
                   "  arrival_rate_per_s: 0.025\n"
                   "  service: {a: 0.0225, c: 0}\n"
                   "  output_tokens: {distribution: lognormal, mu: 5, sigma: 0.7}\n"},
};
#define INPUTS (sizeof inputs / sizeof *inputs)

const struct subject subjects[] = {
    {"run",
     "run run.yaml --seed 1 --output out --json run.json",
     {"run.json", "out/requests.csv", "out/replicas.csv", "out/fleet.csv", "out/steps.csv",
      "out/result.json"},
     false},
    {"plan", "plan plan.yaml --seed 1 --quick --workers 1 --json plan.json", {"plan.json"}, false},
    {"sweep", "sweep sweep.yaml --seed 1 --jobs 1 --output rows.csv", {"rows.csv"}, true},
    {"explain", "explain run.yaml --json explain.json --context 1024", {"explain.json"}, false},
    {"queue", "queue queue.yaml --requests 2000 --seed 1 --json queue.json", {"queue.json"}, false},
    {0},
};
#define SUBJECTS (sizeof subjects / sizeof *subjects - 1)

static char *before[SUBJECTS][MOST_OUTPUTS], *after[SUBJECTS][MOST_OUTPUTS];

static size_t index_of(const struct subject *subject)
{
    return (size_t)(subject - subjects);
}

/* --- files ---------------------------------------------------------------------------------------------- */

static const char *path_of(const struct subject *subject, const char *name)
{
    static char path[300];
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s%s%s", folder, subject ? subject->name : "",
                                 subject ? "/" : "", name) < sizeof path);
    return path;
}

static char *read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = malloc(LIMIT_BYTES);
    assert_non_null(text);
    size_t length = fread(text, 1, LIMIT_BYTES - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static void write_all(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Wall times differ from run to run: their digits go. */
static char *without_wall_times(char *text)
{
    char *at = text;
    while (text && (at = strstr(at, "wall_s\": "))) {
        at += strlen("wall_s\": ");
        size_t digits = strspn(at, "0123456789.e+-");
        memmove(at, at + digits, strlen(at + digits) + 1);
    }
    return text;
}

static bool is_one_of(const char *name, const struct subject *subject)
{
    bool found = false;
    for (size_t i = 0; i < INPUTS; i++)
        found |= strcmp(inputs[i].name, name) == 0;
    for (int i = 0; i < MOST_OUTPUTS && subject->outputs[i]; i++) {
        size_t length = strcspn(subject->outputs[i], "/");
        found |= strcmp(subject->outputs[i], name) == 0 ||
                 (strlen(name) == length && strncmp(name, subject->outputs[i], length) == 0);
    }
    return found;
}

/* Files of `subject` that are neither inputs nor outputs; `remove_them` or count them. */
static int visit(const struct subject *subject, const char *below, bool remove_them)
{
    char at[300], name[300];
    int found = 0;
    snprintf(at, sizeof at, "%s", path_of(subject, below));
    DIR *entries = opendir(at);
    if (!entries)
        return 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_true((size_t)snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry->d_name) <
                    sizeof name);
        assert_int_equal(stat(path_of(subject, name), &info), 0);
        if (S_ISDIR(info.st_mode))
            found += visit(subject, name, remove_them);
        else if (!is_one_of(name, subject)) {
            found++;
            if (remove_them)
                remove(path_of(subject, name));
        }
    }
    closedir(entries);
    return found;
}

bool has_leftovers(const struct subject *subject)
{
    return visit(subject, "", false) > 0;
}

void stage(const struct subject *subject)
{
    visit(subject, "", true);
    for (int i = 0; i < MOST_OUTPUTS && subject->outputs[i]; i++) {
        const char *path = path_of(subject, subject->outputs[i]), *text = before[index_of(subject)][i];
        if (text)
            write_all(path, text);
        else
            remove(path);
    }
}

/* A sweep's file: the beginning of what it will be, and no more than one line of it torn. */
static enum outputs rows_now(const char *now, const char *whole)
{
    if (!now)
        return OUTPUTS_BEFORE;
    if (strncmp(now, whole, strlen(now)) != 0)
        return OUTPUTS_BROKEN;
    return strlen(now) == strlen(whole) ? OUTPUTS_AFTER : OUTPUTS_BEFORE;
}

enum outputs outputs_now(const struct subject *subject)
{
    const size_t s = index_of(subject);
    bool all_old = true, all_new = true, whole = true, sealed = true;
    for (int i = 0; i < MOST_OUTPUTS && subject->outputs[i]; i++) {
        char *now = without_wall_times(read_all(path_of(subject, subject->outputs[i])));
        if (subject->resumes) {
            enum outputs rows = rows_now(now, after[s][i]);
            free(now);
            return rows;
        }
        bool last = i + 1 == MOST_OUTPUTS || !subject->outputs[i + 1];
        bool old = now && strcmp(now, before[s][i]) == 0, new = now &&strcmp(now, after[s][i]) == 0;
        all_old &= old;
        all_new &= new;
        whole &= old || new || (last && i > 0 && !now);
        sealed = now != NULL;
        free(now);
    }
    if (all_new)
        return OUTPUTS_AFTER;
    if (all_old)
        return OUTPUTS_BEFORE;
    return whole && !sealed ? OUTPUTS_MIXED : OUTPUTS_BROKEN;
}

/* --- the program ---------------------------------------------------------------------------------------- */

static void give(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
}

static void become(const struct subject *subject, const char *arguments, const struct fault *fault)
{
    char words[400], *argv[40] = {KM_BINARY};
    int argc = 1, out = open(path_of(NULL, "out"), O_WRONLY | O_CREAT | O_TRUNC, 0600),
        err = open(path_of(NULL, "err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    snprintf(words, sizeof words, "%s", arguments);
    for (char *rest = words, *word; (word = strtok_r(rest, " ", &rest)) && argc < 39;)
        argv[argc++] = word;
    char report[300];
    snprintf(report, sizeof report, "%s", path_of(NULL, "report"));
    if (chdir(path_of(subject, "")) != 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(127);
    close(out);
    close(err);
    give("LD_PRELOAD", KM_PRELOAD);
    give("KM_FAULT_ALLOCATION", fault->allocation);
    give("KM_FAULT_CALL", fault->call);
    give("KM_FAULT_CLOCK", fault->clock);
    give("KM_FAULT_REPORT", fault->counted ? report : NULL);
    give("LC_ALL", fault->locale);
    execv(KM_BINARY, argv);
    _exit(127);
}

static pid_t begin(const struct subject *subject, const char *arguments, const struct fault *fault)
{
    remove(path_of(NULL, "report"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        become(subject, arguments, fault);
    return child;
}

pid_t begin_faulty(const struct subject *subject, const struct fault *fault)
{
    return begin(subject, subject->arguments, fault);
}

struct ended finish_faulty(const struct subject *subject, pid_t child)
{
    int status;
    (void)subject;
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    struct ended ended = {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status)};
    char *report = read_all(path_of(NULL, "report"));
    if (report && sscanf(report, "allocations %lu calls %lu synced %lu", &ended.allocations, &ended.calls,
                         &ended.synced) != 3)
        fail_msg("the report of the faults says: %s", report);
    free(report);
    return ended;
}

struct ended run_faulty(const struct subject *subject, const struct fault *fault)
{
    return finish_faulty(subject, begin_faulty(subject, fault));
}

static const char *latest(char **text, const char *name)
{
    free(*text);
    *text = read_all(path_of(NULL, name));
    return *text ? *text : "";
}

const char *faulty_out(void)
{
    static char *text;
    return latest(&text, "out");
}

const char *faulty_err(void)
{
    static char *text;
    return latest(&text, "err");
}

bool has_negative_times(const struct subject *subject)
{
    bool found = false;
    for (int i = 0; i < MOST_OUTPUTS && subject->outputs[i]; i++) {
        char *text = read_all(path_of(subject, subject->outputs[i]));
        found |= text && strstr(text, "wall_s\": -");
        free(text);
    }
    const char *out = faulty_out(), *at = strstr(out, " wall"); /* "simulator   4.22 ms wall, ..." */
    while (at && at > out && at[-1] != '\n')
        found |= *--at == '-';
    return found;
}

bool is_one_line(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strchr(text, '\n') == text + length - 1 &&
           strncmp(text + length - 1 - tail, end, tail) == 0;
}

unsigned long point_stride(unsigned long count, unsigned long usual)
{
    const char *wanted = getenv("KM_FAULT_POINTS");
    if (wanted && strcmp(wanted, "all") == 0)
        return 1;
    unsigned long points = wanted ? strtoul(wanted, NULL, 10) : usual;
    return points == 0 || count <= points ? 1 : (count + points - 1) / points;
}

/* --- set-up --------------------------------------------------------------------------------------------- */

static void take(const struct subject *subject, char **into)
{
    for (int i = 0; i < MOST_OUTPUTS && subject->outputs[i]; i++) {
        into[i] = without_wall_times(read_all(path_of(subject, subject->outputs[i])));
        if (!into[i])
            fail_msg("%s: no %s: %s", subject->name, subject->outputs[i], faulty_err());
    }
}

/* The same command, of whose result some figure differs. */
static void others(const struct subject *subject, char *out, size_t size)
{
    const char *seed = strstr(subject->arguments, "--seed 1");
    if (seed)
        snprintf(out, size, "%.*s--seed 2%s", (int)(seed - subject->arguments), subject->arguments,
                 seed + strlen("--seed 1"));
    else /* explain */
        snprintf(out, size, "%.*s512", (int)strlen(subject->arguments) - 4, subject->arguments);
}

int open_faulty_folders(void **state)
{
    const struct fault none = {.counted = true};
    (void)state;
    if (access("/dev/shm", W_OK) != 0)
        strcpy(folder, "/tmp/kingman-faulty-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    for (const struct subject *s = subjects; s->name; s++) {
        char other[400];
        mkdir(path_of(s, ""), 0700);
        for (size_t i = 0; i < INPUTS; i++)
            write_all(path_of(s, inputs[i].name), inputs[i].text);
        others(s, other, sizeof other);
        if (!s->resumes) {
            if (finish_faulty(s, begin(s, other, &none)).code != 0)
                fail_msg("kingman %s: %s", other, faulty_err());
            take(s, before[index_of(s)]);
        }
        if (run_faulty(s, &none).code != 0)
            fail_msg("kingman %s: %s", s->arguments, faulty_err());
        take(s, after[index_of(s)]);
        for (int i = 0; i < MOST_OUTPUTS && s->outputs[i] && !s->resumes; i++)
            if (strcmp(before[index_of(s)][i], after[index_of(s)][i]) == 0 && !strstr(s->outputs[i], "fleet"))
                fail_msg("%s: %s is the same before and after", s->name, s->outputs[i]);
    }
    return 0;
}

int close_faulty_folders(void **state)
{
    char command[100];
    (void)state;
    for (size_t s = 0; s < SUBJECTS; s++)
        for (int i = 0; i < MOST_OUTPUTS; i++) {
            free(before[s][i]);
            free(after[s][i]);
        }
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}
