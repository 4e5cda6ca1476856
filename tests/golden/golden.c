/* Compares what kingman answers with the golden answers beside this file, or writes them anew: README.md
 * here.
 *
 *   golden [--write] [--tolerance R] [--sanitized] KINGMAN [CASE...]
 *
 * Runs in the root of the repository. Exit code 0: all as it was, or written; 1: a difference, or a case
 * without an answer; 2: bad use. */
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/outfile.h"
#include "golden/answer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER      "tests/golden"
#define LIMIT_BYTES ((size_t)16 << 20)
#define SHOWN_BYTES 4000 /* of a case's differences, in the test; --write shows all */

/* What a case's file is, by the end of its name. */
enum kind { ANSWER_JSON, ANSWER_ROWS, ANSWER_TEXT, ANSWER_CSV };
static const struct {
    const char *end, *arguments; /* appended to the command; %s is the scratch folder */
} kinds[] = {
    [ANSWER_JSON] = {".json", "--json -"},
    [ANSWER_ROWS] = {".rows", "--output %s/rows.jsonl"},
    [ANSWER_TEXT] = {".txt", ""},
    [ANSWER_CSV] = {".csv", "--output %s"},
};

struct golden_case {
    char name[64];
    enum kind kind;
    bool quick; /* also under sanitizers */
    int code;
    const char *arguments;
};

struct options {
    bool write, sanitized;
    double tolerance;
    const char *kingman;
    char **names;
    size_t name_count;
    char folder[64]; /* scratch */
};

static char *read_whole(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    return km_file_read(path, LIMIT_BYTES, &text, &bytes, NULL) == KM_OK ? text : NULL;
}

static char *read_scratch(const struct options *options, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", options->folder, name);
    char *text = read_whole(path);
    return text ? text : km_strdup("");
}

/* Runs a case in the scratch folder's files `out` and `err`; its exit code. A failed sanitizer exits 99,
 * which is no answer. */
static int run(const struct options *options, const struct golden_case *c)
{
    struct km_text command = {0};
    km_text_printf(&command, "rm -f %s/*; ASAN_OPTIONS=exitcode=99 '%s' %s ", options->folder,
                   options->kingman, c->arguments);
    const char *more = kinds[c->kind].arguments, *hole = strstr(more, "%s");
    km_text_append(&command, more, hole ? (size_t)(hole - more) : strlen(more));
    if (hole)
        km_text_printf(&command, "%s%s", options->folder, hole + 2);
    km_text_printf(&command, " > %s/out 2> %s/err </dev/null", options->folder, options->folder);
    int status = system(km_text_c(&command));
    km_text_release(&command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Lines of JSON as one array. */
static void rows_to_array(const char *rows, struct km_text *out)
{
    km_text_puts(out, "[");
    for (; *rows; rows += strspn(rows, "\n")) {
        size_t length = strcspn(rows, "\n");
        km_text_printf(out, "%s%.*s", out->length > 1 ? ",\n" : "", (int)length, rows);
        rows += length;
    }
    km_text_puts(out, "]");
}

static void gather_text(const struct options *options, enum kind kind, struct km_text *out)
{
    static const char *const files[] = {"requests.csv", "replicas.csv", "fleet.csv"};
    for (size_t i = 0; kind == ANSWER_CSV && i < sizeof files / sizeof files[0]; i++) {
        char *text = read_scratch(options, files[i]);
        km_text_printf(out, "== %s\n%s", files[i], text);
        free(text);
    }
    if (kind == ANSWER_CSV)
        return;
    char *text = read_scratch(options, kind == ANSWER_ROWS ? "rows.jsonl" : "out");
    if (kind == ANSWER_TEXT)
        answer_strip_text(text);
    if (kind == ANSWER_ROWS)
        rows_to_array(text, out);
    else
        km_text_puts(out, text);
    free(text);
}

/* The answer as the golden file holds it. A variant (--set) leaves the resolved scenario out: the case that
 * it varies holds it. */
static bool gather(const struct options *options, const struct golden_case *c, struct km_text *out,
                   struct km_error *error)
{
    bool json = c->kind == ANSWER_JSON || c->kind == ANSWER_ROWS;
    struct km_text raw = {0};
    gather_text(options, c->kind, json ? &raw : out);
    if (!json)
        return true;
    struct km_json parsed;
    bool good = km_json_parse(km_text_c(&raw), raw.length, NULL, &parsed, error) == KM_OK;
    km_text_release(&raw);
    if (!good)
        return false;
    answer_strip(parsed.root);
    if (strstr(c->arguments, "--set "))
        cJSON_DeleteItemFromObjectCaseSensitive(parsed.root, "scenario");
    answer_print(parsed.root, out);
    km_json_release(&parsed);
    return true;
}

static size_t compare(const struct options *options, enum kind kind, const char *golden, const char *now,
                      struct km_text *out)
{
    if (kind == ANSWER_TEXT || kind == ANSWER_CSV)
        return answer_compare_text(golden, now, options->tolerance, out);
    cJSON *a = cJSON_Parse(golden), *b = cJSON_Parse(now);
    size_t count = 1;
    if (a && b)
        count = answer_compare(a, b, options->tolerance, out);
    else
        km_text_puts(out, "the golden file is not JSON\n");
    cJSON_Delete(a);
    cJSON_Delete(b);
    return count;
}

enum verdict { SAME, DIFFERENT, FAILED };

/* Compares or writes one case. */
static enum verdict check(const struct options *options, const struct golden_case *c)
{
    char path[128];
    snprintf(path, sizeof path, FOLDER "/%s", c->name);
    int code = run(options, c);
    if (code != c->code) {
        char *err = read_scratch(options, "err");
        printf("%s: exit code %d, the table says %d: kingman %s\n%s", c->name, code, c->code, c->arguments,
               err);
        free(err);
        return FAILED;
    }
    struct km_text now = {0}, differences = {0};
    struct km_error error = {0};
    enum verdict verdict = gather(options, c, &now, &error) ? SAME : FAILED;
    char *golden = read_whole(path);
    if (verdict == FAILED) {
        printf("%s: not JSON: %s\n", c->name, error.message);
    } else if (!golden) {
        printf("%s: %s\n", c->name,
               options->write ? "new" : "there is no such file; scripts/golden writes it");
        verdict = DIFFERENT;
    } else {
        size_t count = compare(options, c->kind, golden, km_text_c(&now), &differences);
        verdict = count ? DIFFERENT : SAME;
        bool cut = !options->write && differences.length > SHOWN_BYTES;
        if (count)
            printf("%s: %zu differences: kingman %s\n%.*s%s", c->name, count, c->arguments,
                   cut ? SHOWN_BYTES : INT32_MAX, km_text_c(&differences), cut ? "...\n" : "");
    }
    bool stale = verdict != FAILED && (!golden || strcmp(golden, km_text_c(&now)) != 0);
    if (options->write && stale && km_file_write(path, &now, &error) != KM_OK) {
        printf("%s: %s\n", path, error.message);
        verdict = FAILED;
    }
    free(golden);
    km_text_release(&now);
    km_text_release(&differences);
    return verdict;
}

/* "name always|release code arguments"; false for a line that is none. */
static bool parse_case(char *line, struct golden_case *out)
{
    int used = 0;
    char depth[8];
    if (sscanf(line, "%63s %7s %d %n", out->name, depth, &out->code, &used) != 3 || !line[used])
        return false;
    out->quick = strcmp(depth, "always") == 0;
    out->arguments = line + used;
    const char *end = strrchr(out->name, '.');
    for (size_t i = 0; end && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(end, kinds[i].end) == 0) {
            out->kind = (enum kind)i;
            return out->quick || strcmp(depth, "release") == 0;
        }
    return false;
}

static bool wanted(const struct options *options, const struct golden_case *c)
{
    for (size_t i = 0; i < options->name_count; i++)
        if (strcmp(options->names[i], c->name) == 0)
            return true;
    return options->name_count == 0 && (c->quick || !options->sanitized);
}

static int usage(void)
{
    fprintf(stderr, "usage: golden [--write] [--tolerance R] [--sanitized] KINGMAN [CASE...]\n");
    return 2;
}

static int check_all(const struct options *options, char *table)
{
    size_t checked = 0, changed = 0, failed = 0;
    for (char *line = table, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (line[0] == '#' || line[strspn(line, " ")] == '\0')
            continue;
        struct golden_case c;
        if (!parse_case(line, &c)) {
            fprintf(stderr, FOLDER "/cases: not a case: %s\n", line);
            return 2;
        }
        if (!wanted(options, &c))
            continue;
        checked++;
        enum verdict verdict = check(options, &c);
        changed += verdict == DIFFERENT;
        failed += verdict == FAILED;
        fflush(stdout);
    }
    if (checked == 0) {
        fprintf(stderr, FOLDER "/cases: no such case\n");
        return 2;
    }
    printf("%zu golden answers: %zu %s, %zu without an answer\n", checked, changed,
           options->write ? "written anew" : "differ", failed);
    return failed || (changed && !options->write) ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options options = {.folder = "/tmp/kingman-golden-XXXXXX"};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--write") == 0)
            options.write = true;
        else if (strcmp(argv[i], "--sanitized") == 0)
            options.sanitized = true;
        else if (strcmp(argv[i], "--tolerance") == 0 && i + 1 < argc)
            options.tolerance = strtod(argv[++i], NULL);
        else
            return usage();
    }
    if (i >= argc)
        return usage();
    options.kingman = argv[i++];
    options.names = argv + i;
    options.name_count = (size_t)(argc - i);
    char *table = read_whole(FOLDER "/cases");
    if (!table || !mkdtemp(options.folder)) {
        fprintf(stderr, "golden: cannot read " FOLDER "/cases, or make %s\n", options.folder);
        return 2;
    }
    int code = check_all(&options, table);
    free(table);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", options.folder);
    return system(command) == 0 ? code : 2;
}
