/* Ctrl-C and SIGTERM while a command works on something long: it ends, with what it has or without, and leaves
 * no temporary file; a second Ctrl-C ends it at once. */
#include "support/program.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define QUICKSTART KM_SOURCE_DIR "/configs/quickstart.yaml"
#define ENDLESS                                                                                              \
    "--set 'workload={requests: 1000000000, arrivals: {process: poisson, rate_per_s: 200}, "                 \
    "prompt_tokens: 100, output_tokens: 50}' "
#define LAW "--output-tokens distribution=lognormal,mu=5,sigma=0.7 "

/* Much work each, or the millions of rows of long.csv to read first. */
static const struct {
    const char *arguments;
    const char *keeps; /* what it leaves when interrupted; NULL: nothing */
} commands[] = {
    {"run " QUICKSTART " " ENDLESS, NULL},
    {"run " QUICKSTART " " ENDLESS "--no-fast-forward --output answer --json run.json", "answer run.json"},
    {"run " QUICKSTART " --set workload.trace=long.csv", NULL},
    {"sweep " QUICKSTART " " ENDLESS "--set 'sweep={engine.batching.max_num_seqs: [4, 64]}' --output s.csv",
     "s.csv s.csv.partial"},
    {"sweep " QUICKSTART " --set workload.trace=long.csv --set 'sweep={seed: [4, 64]}' --output s.csv", NULL},
    {"plan " KM_SOURCE_DIR "/configs/plan-chat-70b.yaml --exhaustive --json plan.json", NULL},
    {"plan " KM_SOURCE_DIR "/configs/plan-chat-70b.yaml --set workload.trace=long.csv", NULL},
    {"advise " QUICKSTART " " ENDLESS "--json advise.json", NULL},
    {"queue --discipline mg1 --arrival-rate-per-s 1000 --service a=1e-6,c=1e-6 " LAW
     "--requests 1000000000 --json queue.json",
     NULL},
    {"queue --discipline elastic_dynamic --batch-cap 64 --arrival-rate-per-s 1 --service "
     "k1=0.05,k2=0.1,k3=0.001,k4=0.02 " LAW "--requests 20000 --sweep rate=0.01:3:900",
     NULL},
    {"trace generate made.csv --requests 400000000 --arrivals process=poisson,rate_per_s=6 "
     "--prompt-tokens 300 --output-tokens 20",
     NULL},
    {"trace inspect long.csv", NULL},
    {"trace fit long.csv", NULL},
    {"trace convert long.csv made.jsonl --to mooncake", NULL},
};

#define ENDS_WITHIN_S 20 /* or it hangs: it takes milliseconds */

static const struct {
    const char *name;
    int number;
    bool twice;
} ways[] = {{"SIGINT", SIGINT, false}, {"SIGTERM", SIGTERM, false}, {"SIGINT twice", SIGINT, true}};

static void pause_ms(long ms)
{
    nanosleep(&(const struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Rows enough that a second is spent on reading them. */
#define ROWS 3000000

static void put_rows(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/long.csv", program_folder());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("arrival_s,prompt_tokens,output_tokens\n", file);
    for (int i = 0; i < ROWS; i++)
        fprintf(file, "%d.%d,100,%d\n", i / 10, i % 10, 10 + i % 50);
    assert_int_equal(fclose(file), 0);
}

static pid_t start(const char *arguments)
{
    char command[1000];
    assert_true((size_t)snprintf(command, sizeof command, "cd %s && exec %s %s > out 2> err",
                                 program_folder(), KM_BINARY, arguments) < sizeof command);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return child;
}

/* Its exit code, or 1000 + the signal that it died of. A command that does not end is killed, and fails. */
static int end_by(const char *arguments, int number, bool twice)
{
    pid_t child = start(arguments);
    pause_ms(100);
    kill(child, number);
    if (twice) {
        pause_ms(5);
        kill(child, number);
    }
    int status = 0;
    for (int tries = 0; waitpid(child, &status, WNOHANG) == 0; tries++) {
        if (tries == ENDS_WITHIN_S * 1000) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            fail_msg("%s: goes on after a signal", arguments);
        }
        pause_ms(1);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* What is in the folder besides what was put there and what the command keeps; removes what it keeps. */
static void expect_no_litter(const char *arguments, const char *keeps)
{
    char command[400];
    snprintf(command, sizeof command, "cd %s && rm -rf out err %s && ls -A", program_folder(),
             keeps ? keeps : "");
    FILE *list = popen(command, "r");
    char name[300];
    assert_non_null(list);
    while (fgets(name, sizeof name, list))
        if (strcmp(name, "long.csv\n") != 0)
            fail_msg("%s: leaves %s", arguments, name);
    pclose(list);
}

static void test_signals(void **state)
{
    (void)state;
    put_rows();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        for (size_t j = 0; j < sizeof ways / sizeof *ways; j++) {
            int code = end_by(commands[i].arguments, ways[j].number, ways[j].twice);
            if (code != 130 && code != 1000 + ways[j].number) {
                char *err = slurp("err");
                fail_msg("%s: %s: exit %d: %s", commands[i].arguments, ways[j].name, code, err);
            }
            expect_no_litter(commands[i].arguments, commands[i].keeps);
        }
}

/* What a run has when it is interrupted is an answer, marked as partial. */
static void test_a_partial_answer(void **state)
{
    (void)state;
    assert_int_equal(end_by("run " QUICKSTART " " ENDLESS "--json run.json", SIGINT, false), 130);
    char *json = slurp("run.json");
    assert_non_null(json);
    assert_non_null(strstr(json, "\"partial\": true"));
    free(json);
}

/* Whoever comes second into a folder that is being written is refused, and the first is not disturbed. */
static void test_one_output_of_two_runs(void **state)
{
    (void)state;
    static const char run[] = "run " QUICKSTART " " ENDLESS "--output answer";
    pid_t first = start(run);
    char path[300];
    snprintf(path, sizeof path, "%s/answer/requests.csv.kingman.tmp", program_folder());
    for (int ms = 0; ms < ENDS_WITHIN_S * 1000 && access(path, F_OK) != 0; ms++)
        pause_ms(1);
    struct outcome second = kingman("run " QUICKSTART " --set workload.end_s=10 --output answer");
    assert_int_equal(second.code, 2);
    assert_non_null(strstr(second.err, "answer/requests.csv: another process is writing it"));
    assert_int_equal(count_lines(second.err), 1);
    release(&second);
    assert_int_equal(access(path, F_OK), 0);
    int status;
    kill(first, SIGINT);
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    char *rows = slurp("answer/result.json");
    assert_non_null(strstr(rows, "\"partial\": true"));
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals),
                                       cmocka_unit_test(test_a_partial_answer),
                                       cmocka_unit_test(test_one_output_of_two_runs)};
    return cmocka_run_group_tests(tests, open_program_folder, close_program_folder);
}
