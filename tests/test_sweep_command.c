/* `kingman sweep` as its users meet it: the same bytes however many threads, ranks and deaths it took. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/kingman-sweep-command-XXXXXX";

/* 5 x 3 points of 2 replications; the first axis makes some runs far longer than others. */
static const char scenario[] =
    "model: llama-3.1-8b\n"
    "cluster: {device: h200-sxm}\n"
    "workload:\n"
    "  arrivals: {process: poisson, rate_per_s: 8}\n"
    "  prompt_tokens: {distribution: lognormal, mean: 900, sd: 900, min: 1, max: 9000}\n"
    "  output_tokens: {distribution: geometric, mean: 150}\n"
    "  requests: 200\n"
    "slo: {ttft_p99_s: 1.0}\n"
    "sweep:\n"
    "  workload.requests: [2000, 100, 50, 700, 20]\n"
    "  engine.batching.max_num_seqs: [8, 64, 256]\n"
    "  replications: 2\n";
#define RUNS 30

static void put(const char *name, const char *text)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static char *slurp(const char *name)
{
    char *text;
    size_t bytes;
    struct km_error error;
    if (km_file_read(name, 1 << 24, &text, &bytes, &error) != KM_OK)
        fail_msg("%s: %s", name, error.message);
    return text;
}

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

static void forget(const char *name)
{
    char journal[100];
    snprintf(journal, sizeof journal, "%s.partial", name);
    remove(name);
    remove(journal);
}

static void assert_same_files(const char *a, const char *b)
{
    char *first = slurp(a), *second = slurp(b);
    if (strcmp(first, second) != 0)
        fail_msg("%s and %s differ", a, b);
    free(first);
    free(second);
}

/* Start `prefix kingman sweep arguments`, stdout and stderr to files `out` and `err`. A failed sanitizer
 * exits 1 by itself, which would pass for an answer: let it say 99. Open MPI leaves memory behind at its end:
 * under it, leaks are not looked for. */
static pid_t start(const char *prefix, const char *arguments)
{
    char command[3000];
    int length =
        snprintf(command, sizeof command, "ASAN_OPTIONS=exitcode=99%s exec %s %s sweep %s > out 2> err",
                 *prefix ? ":detect_leaks=0" : "", prefix, KM_BINARY, arguments);
    assert_true(length > 0 && (size_t)length < sizeof command);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return child;
}

static int finish(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect(const char *prefix, const char *arguments, int code)
{
    int got = finish(start(prefix, arguments));
    if (got == code)
        return;
    char *err = slurp("err");
    print_error("%s", err);
    free(err);
    fail_msg("%s sweep %s: exit %d instead of %d", prefix, arguments, got, code);
}

static void expect_error(const char *arguments, int code, const char *message)
{
    expect("", arguments, code);
    char *err = slurp("err");
    if (!strstr(err, message) || strchr(err, '\n') != err + strlen(err) - 1)
        fail_msg("sweep %s: expected one line with\n%s\ngot\n%s", arguments, message, err);
    free(err);
}

static void wait_ms(long ms)
{
    nanosleep(&(const struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static size_t count(const char *text, const char *what)
{
    size_t found = 0;
    for (; (text = strstr(text, what)); text++)
        found++;
    return found;
}

/* --- the same bytes ------------------------------------------------------------------------------------- */

static void test_threads(void **state)
{
    (void)state;
    static const char *const jobs[] = {"1", "2", "5", "64"};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "s.yaml --output t.csv --jobs %s", jobs[i]);
        forget("t.csv");
        expect("", arguments, 0);
        assert_same_files("whole.csv", "t.csv");
        assert_same_files("whole.out", "out");
        assert_false(exists("t.csv.partial"));
        snprintf(arguments, sizeof arguments, "s.yaml --output t.jsonl --jobs %s", jobs[i]);
        forget("t.jsonl");
        expect("", arguments, 0);
        assert_same_files("whole.jsonl", "t.jsonl");
    }
    char *text = slurp("whole.csv");
    assert_int_equal(count(text, "\n"), RUNS + 1);
    free(text);
    text = slurp("whole.jsonl");
    assert_int_equal(count(text, "\"status\": \"ok\""), RUNS);
    free(text);
}

#define MPIRUN "mpirun --allow-run-as-root --oversubscribe --bind-to none "

static bool has_mpi(void)
{
    char module[500];
    snprintf(module, sizeof module, "%.*s/kingman_mpi.so", (int)(strrchr(KM_BINARY, '/') - KM_BINARY),
             KM_BINARY);
    return exists(module) && system("mpirun --version > out 2>&1 && " MPIRUN "-np 1 true > out 2>&1") == 0;
}

static void test_ranks(void **state)
{
    (void)state;
    if (!has_mpi())
        skip();
    static const struct {
        const char *prefix, *jobs;
    } table[] = {{MPIRUN "-np 1", "1"}, {MPIRUN "-np 2", "1"}, {MPIRUN "-np 4", "2"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "s.yaml --output t.csv --jobs %s", table[i].jobs);
        forget("t.csv");
        expect(table[i].prefix, arguments, 0);
        assert_same_files("whole.csv", "t.csv");
        assert_same_files("whole.out", "out");
    }
}

static void test_ranks_tell_a_fault_once(void **state)
{
    (void)state;
    if (!has_mpi())
        skip();
    expect(MPIRUN "-np 3", "s.yaml --set cluster.replicas=x --output t.csv", 2);
    char *err = slurp("err");
    assert_int_equal(count(err, "cluster.replicas: expected"), 1);
    free(err);
}

/* Under mpirun, but without the module: better refused than every rank doing everything, into one file. */
static void test_mpirun_without_the_module(void **state)
{
    (void)state;
    assert_int_equal(setenv("PMIX_RANK", "0", 1), 0);
    forget("t.csv");
    char copy[] = "env LD_LIBRARY_PATH= ./alone", command[400];
    snprintf(command, sizeof command,
             "cp %s alone && ASAN_OPTIONS=exitcode=99 %s sweep s.yaml --output t.csv > out 2> err", KM_BINARY,
             copy);
    int status = system(command);
    unsetenv("PMIX_RANK");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    char *err = slurp("err");
    assert_non_null(strstr(err, "started by mpirun, but this kingman was built without MPI"));
    free(err);
    assert_false(exists("t.csv"));
    remove("alone");
}

/* --- deaths --------------------------------------------------------------------------------------------- */

/* Killed at random moments, run again each time. */
static void die_often(const char *prefix, const char *arguments, int attempts)
{
    long longest_ms = *prefix ? 200 : 40; /* ranks take as long to find each other */
    int deaths = 0;
    forget("t.csv");
    for (int attempt = 0;; attempt++) {
        pid_t child = start(prefix, arguments);
        int status = 0;
        /* Longer and longer lives, so that it ends in the end however slow the machine is. */
        if (attempt < attempts) {
            wait_ms(rand() % longest_ms);
            longest_ms = longest_ms * 3 / 2;
            kill(child, SIGKILL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        deaths++;
        /* mpirun's processes end a moment after it; until then they hold the file. */
        if (*prefix)
            wait_ms(700);
    }
    assert_true(deaths > 0);
    assert_same_files("whole.csv", "t.csv");
    assert_same_files("whole.out", "out");
    assert_false(exists("t.csv.partial"));
}

static void test_killed_threads(void **state)
{
    (void)state;
    srand(11);
    for (int round = 0; round < 2; round++)
        die_often("", "s.yaml --output t.csv --jobs 3", 12);
}

static void test_killed_ranks(void **state)
{
    (void)state;
    if (!has_mpi())
        skip();
    srand(12);
    die_often(MPIRUN "-np 3", "s.yaml --output t.csv --jobs 1", getenv("KM_LONG_TESTS") ? 12 : 6);
}

/* Only a helper is killed: Open MPI ends the others, and what they had done is in the file. */
static void test_a_killed_helper(void **state)
{
    (void)state;
    if (!has_mpi())
        skip();
    static const char sweep[] =
        "s.yaml --jobs 1 --set 'sweep={workload.requests: 2000, replications: 30}' --output ";
    char arguments[200];
    put("murder", "#!/bin/sh\n"
                  "[ \"$OMPI_COMM_WORLD_RANK\" = 1 ] || exec \"$@\"\n"
                  "\"$@\" &\n"
                  "until [ \"$(wc -l < t.csv)\" -gt 3 ]; do sleep 0.01; done\n"
                  "kill -9 $!\n"
                  "wait $!\n");
    assert_int_equal(chmod("murder", 0755), 0);
    forget("u.csv");
    snprintf(arguments, sizeof arguments, "%su.csv", sweep);
    expect("", arguments, 0);
    snprintf(arguments, sizeof arguments, "%st.csv", sweep);
    int code = 0;
    for (int attempt = 0; attempt < 5 && code == 0; attempt++) { /* it may be done before it is killed */
        put("t.csv", "");
        remove("t.csv.partial");
        code = finish(start(MPIRUN "-np 3 ./murder", arguments));
    }
    assert_int_not_equal(code, 0);
    char *rows = slurp("t.csv");
    assert_true(count(rows, "\n") > 3);
    free(rows);
    expect("", arguments, 0);
    assert_same_files("t.csv", "u.csv");
}

static void test_a_torn_line(void **state)
{
    (void)state;
    char *text = slurp("whole.csv");
    for (size_t keep = 1; keep < strlen(text); keep = keep * 5 + 40) {
        put("t.csv", "");
        FILE *file = fopen("t.csv", "wb");
        assert_non_null(file);
        fwrite(text, 1, keep, file);
        fclose(file);
        expect("", "s.yaml --output t.csv", 0);
        assert_same_files("whole.csv", "t.csv");
        assert_same_files("whole.out", "out");
    }
    free(text);
}

/* A figure changed by hand, or by the disk, is no row of the sweep: it is refused, and stays as it is. */
static void test_a_changed_row(void **state)
{
    (void)state;
    static const char *const files[] = {"t.csv", "t.jsonl"};
    for (size_t i = 0; i < 2; i++) {
        char arguments[100], message[100];
        char *text = slurp(i ? "whole.jsonl" : "whole.csv");
        size_t digit = strlen(text) - 1;
        while (text[digit - 1] != '.')
            digit--;
        text[digit] = text[digit] == '1' ? '2' : '1';
        put(files[i], text);
        snprintf(arguments, sizeof arguments, "s.yaml --output %s", files[i]);
        snprintf(message, sizeof message, "%s:%d: not a row of this sweep, or changed since", files[i],
                 RUNS + (i == 0));
        expect_error(arguments, 2, message);
        char *kept = slurp(files[i]);
        assert_string_equal(kept, text);
        free(kept);
        free(text);
        forget(files[i]);
    }
}

static void test_interrupted(void **state)
{
    (void)state;
    bool interrupted = false;
    for (int attempt = 0; attempt < 10 && !interrupted; attempt++) {
        struct stat info = {0};
        forget("t.csv");
        pid_t child = start("", "s.yaml --output t.csv --jobs 1");
        for (int ms = 0; ms < 60000 && info.st_size < 3000; ms++) { /* the header and a row or more */
            wait_ms(1);
            stat("t.csv", &info);
        }
        kill(child, SIGINT);
        int code = finish(child);
        interrupted = code == 130;
        if (!interrupted)
            continue; /* done before */
        char *err = slurp("err");
        assert_non_null(strstr(err, "of 30 runs in t.csv; the same command goes on from there\n"));
        free(err);
        expect("", "s.yaml --output t.csv --jobs 1", 0);
        assert_same_files("whole.csv", "t.csv");
    }
    assert_true(interrupted);
}

/* --- refusals ------------------------------------------------------------------------------------------- */

static void test_another_question_is_refused(void **state)
{
    (void)state;
    forget("t.csv");
    put("changed.yaml", scenario);
    expect("", "changed.yaml --output t.csv", 0);
    assert_same_files("whole.csv", "t.csv"); /* the name of the file is no part of the question */
    static const char *const arguments[] = {
        "changed.yaml --output t.csv --seed 2",
        "changed.yaml --output t.csv --set cluster.tensor_parallel_size=2",
        "changed.yaml --output t.csv --replications 3",
    };
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        expect_error(arguments[i], 2, "t.csv:2: a row of another sweep");
    char text[sizeof scenario + 100];
    snprintf(text, sizeof text, "%s# a comment changes nothing\n", scenario);
    put("changed.yaml", text);
    expect("", "changed.yaml --output t.csv", 0);
    char *at = strstr(text, "mean: 150");
    assert_non_null(at);
    memcpy(at, "mean: 151", 9);
    put("changed.yaml", text);
    expect_error("changed.yaml --output t.csv", 2, "t.csv:2: a row of another sweep");
    assert_same_files("whole.csv", "t.csv");
}

/* A trace that the scenario names is part of the question; its name is not all of it. */
static void test_another_trace_is_refused(void **state)
{
    (void)state;
    put("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,200,20\n");
    put("replay.yaml", "model: llama-3.1-8b\n"
                       "cluster: {device: h200-sxm}\n"
                       "workload: {trace: trace.csv}\n"
                       "sweep: {workload.rate_scale: [1, 2]}\n");
    forget("t.csv");
    expect("", "replay.yaml --output t.csv", 0);
    expect("", "replay.yaml --output t.csv", 0);
    put("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,200,21\n");
    expect_error("replay.yaml --output t.csv", 2, "t.csv:2: a row of another sweep");
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *sweep, *message;
    } table[] = {
        {"", "q.yaml: nothing to sweep: there is no section such as sweep:"},
        {"sweep: 3\n", "q.yaml:5:8: sweep: expected a mapping such as"},
        {"sweep: {engine.batching.max_num_seq: [1, 2]}\n",
         "q.yaml:5:9: sweep: engine.batching.max_num_seq: unknown key; did you mean \"max_num_seqs\"?"},
        {"sweep: {engine.batching.max_num_seqs: [1, 8k]}\n",
         "q.yaml:5:9: sweep: engine.batching.max_num_seqs: expected an integer ≥ 1, got \"8k\""},
        {"sweep: {replications: 0}\n", "q.yaml:5:23: sweep.replications: expected an integer from 1 to"},
        {"sweep: {cluster.replicas: [1, 2], replications: 2.5}\n",
         "q.yaml:5:49: sweep.replications: expected an integer"},
        {"sweep: {engine.batching.max_num_batched_tokens: [64, 512], engine.batching.max_num_seqs: [32, "
         "128]}\n",
         "q.yaml:5:9: sweep: engine.batching.max_num_batched_tokens: 64 is less than max_num_seqs, 128 (at "
         "the point "
         "engine.batching.max_num_batched_tokens=64, engine.batching.max_num_seqs=128)"},
        {"sweep: {workload.rate_scale: {from: 1, to: 9, points: 2000}}\n",
         "a grid of 2000 points is too large for a table: name a file with --output"},
        {"modell: x\nsweep: {replications: 2}\n", "q.yaml:5:1: modell: unknown key; did you mean \"model\"?"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[1000];
        snprintf(text, sizeof text,
                 "model: llama-3.1-8b\ncluster: {device: h200-sxm}\nworkload: {arrivals: {process: poisson, "
                 "rate_per_s: 1}, "
                 "prompt_tokens: {distribution: constant, value: 9}, output_tokens: {distribution: constant, "
                 "value: 9}, "
                 "requests: 9}\nexecutor: simulated\n%s",
                 table[i].sweep);
        put("q.yaml", text);
        expect_error("q.yaml", 2, table[i].message);
    }
    forget("t.csv"); /* of a large grid, every value is looked at, though not every point */
    expect_error("s.yaml --output t.csv --set 'sweep={workload.rate_scale: {from: 1, to: 9, points: 5000}, "
                 "engine.batching.max_num_seqs: [8, 8k]}'",
                 2, "engine.batching.max_num_seqs: expected an integer ≥ 1, got \"8k\"");
    assert_false(exists("t.csv"));
    expect_error("s.yaml --output t.txt", 2, "--output: expected FILE.csv or FILE.jsonl, got \"t.txt\"");
    expect_error("s.yaml --output no/such/t.csv", 2,
                 "no/such/t.csv: cannot write: No such file or directory");
    expect_error("none.yaml", 2, "none.yaml: cannot open: No such file or directory");
    put("notes.csv", "my notes\n");
    expect_error("s.yaml --output notes.csv", 2, "notes.csv:1: not the output of this sweep");
    char *notes = slurp("notes.csv");
    assert_string_equal(notes, "my notes\n");
    free(notes);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    forget("t.csv");
    struct rlimit limit, smaller;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    smaller = (struct rlimit){5000, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN); /* a child inherits both */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &smaller), 0);
    int code = finish(start("", "s.yaml --output t.csv"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(code, 2);
    char *err = slurp("err"), *kept = slurp("t.csv");
    assert_true(strstr(err, ": cannot write: File too large\n") ==
                err + strlen(err) - strlen(": cannot write: File too large\n"));
    assert_int_equal(kept[strlen(kept) - 1], '\n');
    free(err);
    free(kept);
    expect("", "s.yaml --output t.csv", 0);
    assert_same_files("whole.csv", "t.csv");
}

/* --- answers -------------------------------------------------------------------------------------------- */

static void test_what_does_not_fit_is_an_answer(void **state)
{
    (void)state;
    forget("t.jsonl");
    expect("",
           "s.yaml --set workload.requests=9 --set 'sweep={model: [llama-3.1-8b, llama-3.1-405b], seed: [5, "
           "9]}' "
           "--output t.jsonl",
           0);
    char *rows = slurp("t.jsonl"), *out = slurp("out");
    assert_int_equal(count(rows, "\"status\": \"ok\""), 2);
    assert_int_equal(
        count(rows, "\"status\": \"infeasible\", \"reason\": \"llama-3.1-405b does not fit on 1 x h200-sxm"),
        2);
    assert_int_equal(count(rows, "\"sweep.seed\": 9, \"seed\": 9"), 2);
    assert_int_equal(count(out, "infeasible: llama-3.1-405b does not fit"), 2);
    free(rows);
    free(out);
    expect("", "s.yaml --set 'sweep={model: [llama-3.1-405b]}'", 1);
}

static void test_replications_share_their_seeds(void **state)
{
    (void)state;
    forget("t.csv");
    expect("",
           "s.yaml --seed 7 --replications 3 --set 'sweep={engine.batching.max_num_seqs: [8, 64]}' --output "
           "t.csv",
           0);
    char *rows = slurp("t.csv"), *out = slurp("out");
    static const char *const begin[] = {"\n0,8,7,ok,",  "\n1,8,8,ok,",  "\n2,8,9,ok,",
                                        "\n3,64,7,ok,", "\n4,64,8,ok,", "\n5,64,9,ok,"};
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
        assert_int_equal(count(rows, begin[i]), 1);
    assert_non_null(strstr(out, "±"));
    assert_non_null(strstr(out, "3 replications of each"));
    free(rows);
    free(out);
}

/* The cell of a CSV without quotes. */
static double number_at(const char *rows, uint64_t line, const char *column)
{
    const char *header = rows;
    size_t at = 0, length = strlen(column);
    for (const char *name = header;; name = strchr(name, ',') + 1, at++) {
        if (strncmp(name, column, length) == 0 && (name[length] == ',' || name[length] == '\n'))
            break;
        assert_non_null(strchr(name, ','));
    }
    const char *cell = rows;
    for (uint64_t i = 0; i <= line; i++)
        cell = strchr(cell, '\n') + 1;
    for (; at > 0; at--)
        cell = strchr(cell, ',') + 1;
    return strtod(cell, NULL);
}

/* A recording of ten minutes, a request a second with growing lengths; and what the replications of a
 * workload upon it are. */
static void put_recording(void)
{
    FILE *file = fopen("ten-minutes.csv", "wb");
    assert_non_null(file);
    fputs("arrival_s,prompt_tokens,output_tokens\n", file);
    for (int i = 0; i < 600; i++)
        fprintf(file, "%g,%d,%d\n", i + 0.3 * (i % 3), 100 + i, 10 + i / 10);
    assert_int_equal(fclose(file), 0);
    put("replay.yaml", "model: llama-3.1-8b\n"
                       "cluster: {device: h200-sxm}\n"
                       "workload: {trace: ten-minutes.csv}\n"
                       "sweep: {engine.batching.max_num_seqs: [64], replications: 3}\n");
}

static void test_replications_of_a_recording(void **state)
{
    (void)state;
    put_recording();
    static const struct {
        const char *sets, *samples[3];
        bool interval;
        const char *note;
    } table[] = {
        {"",
         {"recorded", "resampled", "resampled"},
         true,
         "the recording ± half-width of the 95 % interval by 2 resamples of it, in blocks of 60 s\n"},
        {"--set workload.bootstrap_block_s=30",
         {"resampled", "resampled", "resampled"},
         true,
         "3 resamples of one recording: mean ± half-width of the recording's 95 % interval\n"},
        {"--set workload.end_s=200",
         {"recorded", "recorded", "recorded"},
         false,
         "one recording, the same requests in every replication: no interval\n"},
        {"--set 'workload.arrivals={process: at_once}'",
         {"recorded", "recorded", "recorded"},
         false,
         "one recording, the same requests in every replication: no interval\n"},
        {"--set 'workload.arrivals={process: closed_loop, clients: 4}'",
         {"recorded", "recorded", "recorded"},
         false,
         "one recording, the same requests in every replication: no interval\n"},
        {"--set 'workload.arrivals={process: poisson, rate_per_s: 2}'",
         {"drawn", "drawn", "drawn"},
         true,
         "3 replications of each: mean ± half-width of the 95 % confidence interval\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "replay.yaml %s --output t.csv", table[i].sets);
        forget("t.csv");
        expect("", arguments, 0);
        char *rows = slurp("t.csv"), *out = slurp("out");
        for (uint64_t run = 0; run < 3; run++) {
            char begin[100];
            snprintf(begin, sizeof begin, "\n%d,64,%d,ok,,%s,", (int)run, (int)run + 1,
                     table[i].samples[run]);
            if (count(rows, begin) != 1)
                fail_msg("%s: no row %s", table[i].sets, begin);
        }
        if ((strstr(out, " ±") != NULL) != table[i].interval || !strstr(out, table[i].note))
            fail_msg("%s:\n%s", table[i].sets, out);
        free(rows);
        free(out);
    }
}

/* The interval of a recording is as wide as its resamples are apart, however many there are: Student's t of 3
 * - 1 degrees of freedom at 97.5 % is 4.302653. */
static void test_the_interval_of_a_recording(void **state)
{
    (void)state;
    put_recording();
    forget("t.csv");
    expect("", "replay.yaml --replications 4 --output t.csv", 0);
    char *rows = slurp("t.csv"), *out = slurp("out"), want[100];
    double x[4], mean = 0, squares = 0;
    for (uint64_t run = 0; run < 4; run++)
        x[run] = number_at(rows, run, "throughput.requests_per_s");
    for (int i = 1; i < 4; i++)
        mean += x[i] / 3;
    for (int i = 1; i < 4; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    assert_true(squares > 0);
    snprintf(want, sizeof want, " %.2f ±%.2f ", x[0], 4.302653 * sqrt(squares / 2));
    if (!strstr(out, want))
        fail_msg("no%sin\n%s", want, out);
    free(rows);
    free(out);
}

/* Axes by --set: one replaced, one added, one refused by name. */
static void test_axes_by_set(void **state)
{
    (void)state;
    static const struct {
        const char *sets, *last_row;
    } table[] = {
        {"--set 'sweep.engine.batching.max_num_seqs=[9]'", "9,20,9,2,ok,"},
        {"--set 'sweep.workload.requests=[20, 30]' --set sweep.replications=1", "5,30,256,1,ok,"},
        {"--set sweep.workload.requests=20 --set 'sweep.engine.kv.manager=[paged, prefix]'",
         "11,20,256,prefix,2,ok,"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments, "s.yaml %s --output t.csv", table[i].sets);
        forget("t.csv");
        expect("", arguments, 0);
        char *rows = slurp("t.csv");
        size_t last = strlen(rows) - 1;
        while (last > 0 && rows[last - 1] != '\n')
            last--;
        if (strncmp(rows + last, table[i].last_row, strlen(table[i].last_row)) != 0)
            fail_msg("%s: the last row is not %s\n%s", table[i].sets, table[i].last_row, rows);
        free(rows);
    }
    expect_error("s.yaml --set sweep.engine.batching.max_num_seq=[1]", 2, "max_num_seqs");
}

/* `show` chooses the table's figures and is no part of the question; a saturated point has no latencies. */
static void test_what_a_table_shows(void **state)
{
    (void)state;
    forget("t.csv");
    expect("", "s.yaml --set 'sweep={workload.requests: [20]}' --output t.csv", 0);
    expect("", "s.yaml --set 'sweep={workload.requests: [20], show: [e2e_s.mean, cost.usd]}' --output t.csv",
           0);
    char *out = slurp("out");
    if (strncmp(out, "requests  E2E mean  ", 20) != 0 || !strstr(out, "  USD\n") || strstr(out, "TTFT"))
        fail_msg("%s", out);
    free(out);
    expect("",
           "s.yaml --set 'sweep={engine.batching.max_num_seqs: [1, 64], show: [e2e_s.p99]}' "
           "--set workload.requests=2000",
           0);
    out = slurp("out");
    if (!strstr(out, "\n1                   -\n64   ") || !strstr(out, "\n- more than the system can serve"))
        fail_msg("%s", out);
    free(out);
    expect_error("s.yaml --set 'sweep.show=[e2e_s.p98]'", 2, "did you mean \"e2e_s.p99\"?");
    expect_error("s.yaml --set 'sweep.show=e2e_s.p99'", 2, "expected a list of figures");
    expect_error("s.yaml --set 'sweep.show=[[e2e_s.p99]]'", 2, "expected a figure");
}

static void test_a_run_that_is_refused(void **state)
{
    (void)state;
    put("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n");
    put("replay.yaml", "model: llama-3.1-8b\n"
                       "cluster: {device: h200-sxm}\n"
                       "workload: {trace: trace.csv}\n"
                       "sweep: {workload.start_s: [0, 5]}\n");
    forget("t.csv");
    expect_error("replay.yaml --output t.csv", 2, "1 of 2 runs could not be made; column `reason` says why");
    char *rows = slurp("t.csv");
    assert_int_equal(count(rows, ",ok,"), 1);
    assert_int_equal(count(rows, ",error,no request lies between start_s and end_s,"), 1);
    free(rows);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return -1;
    put("s.yaml", scenario);
    expect("", "s.yaml --output whole.csv --jobs 1", 0);
    assert_int_equal(system("sed 's/whole.csv/t.csv/' out > whole.out"), 0);
    expect("", "s.yaml --output whole.jsonl --jobs 1", 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_ranks_tell_a_fault_once),
        cmocka_unit_test(test_mpirun_without_the_module),
        cmocka_unit_test(test_killed_threads),
        cmocka_unit_test(test_killed_ranks),
        cmocka_unit_test(test_a_killed_helper),
        cmocka_unit_test(test_a_torn_line),
        cmocka_unit_test(test_a_changed_row),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_another_question_is_refused),
        cmocka_unit_test(test_another_trace_is_refused),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_what_does_not_fit_is_an_answer),
        cmocka_unit_test(test_replications_share_their_seeds),
        cmocka_unit_test(test_replications_of_a_recording),
        cmocka_unit_test(test_the_interval_of_a_recording),
        cmocka_unit_test(test_axes_by_set),
        cmocka_unit_test(test_what_a_table_shows),
        cmocka_unit_test(test_a_run_that_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
