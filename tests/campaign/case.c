#include "campaign/case.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- settings ------------------------------------------------------------------------------------------ */

bool case_is_under(const char *key, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(key, prefix, length) == 0 && (key[length] == '\0' || key[length] == '.');
}

static size_t find(const struct random_scenario *c, const char *key)
{
    size_t i = 0;
    while (i < c->count && strcmp(c->settings[i].key, key) != 0)
        i++;
    return i;
}

const char *case_get(const struct random_scenario *c, const char *key)
{
    size_t i = find(c, key);
    return i < c->count ? c->settings[i].value : NULL;
}

bool case_is(const struct random_scenario *c, const char *key, const char *value)
{
    const char *is = case_get(c, key);
    return is && strcmp(is, value) == 0;
}

void case_set(struct random_scenario *c, const char *key, const char *format, ...)
{
    char value[4096];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    size_t i = find(c, key);
    if (length < 0 || (size_t)length >= sizeof value || i >= MOST_SETTINGS)
        abort();
    if (i == c->count)
        c->settings[c->count++].key = km_arena_strdup(c->arena, key);
    c->settings[i].value = km_arena_strdup(c->arena, value);
}

void case_drop_at(struct random_scenario *c, size_t index)
{
    c->count--;
    memmove(&c->settings[index], &c->settings[index + 1], (c->count - index) * sizeof *c->settings);
}

void case_drop(struct random_scenario *c, const char *key)
{
    for (size_t i = c->count; i-- > 0;)
        if (case_is_under(c->settings[i].key, key))
            case_drop_at(c, i);
}

void case_move(struct random_scenario *c, const char *key, const char *to)
{
    for (size_t i = 0; i < c->count; i++)
        if (case_is_under(c->settings[i].key, key))
            c->settings[i].key = km_arena_printf(c->arena, "%s%s", to, c->settings[i].key + strlen(key));
}

/* --- files --------------------------------------------------------------------------------------------- */

static void write_part(const struct random_scenario *c, const char *prefix, bool in_list,
                       struct km_text *out);

/* What stands at `path`: a value, a mapping or a list. */
static void write_at(const struct random_scenario *c, const char *path, struct km_text *out)
{
    const char *value = case_get(c, path);
    if (value) {
        km_text_puts(out, value);
        return;
    }
    size_t length = strlen(path);
    for (size_t i = 0; i < c->count; i++)
        if (case_is_under(c->settings[i].key, path)) {
            char first = c->settings[i].key[length + 1];
            write_part(c, path, first >= '0' && first <= '9', out);
            return;
        }
}

static void write_part(const struct random_scenario *c, const char *prefix, bool is_list, struct km_text *out)
{
    const char *between = "";
    size_t length = strlen(prefix), skip = length ? length + 1 : 0;
    char path[256];
    km_text_puts(out, length == 0 ? "" : is_list ? "[" : "{");
    for (size_t i = 0; i < c->count; i++) {
        const char *key = c->settings[i].key;
        if (length && !case_is_under(key, prefix))
            continue;
        size_t part = strcspn(key + skip, ".");
        snprintf(path, sizeof path, "%.*s", (int)(skip + part), key);
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = case_is_under(c->settings[j].key, path);
        if (seen)
            continue;
        km_text_puts(out, between);
        if (!is_list)
            km_text_printf(out, "%s: ", path + skip);
        write_at(c, path, out);
        between = length == 0 ? "\n" : ", ";
    }
    km_text_puts(out, length == 0 ? "\n" : is_list ? "]" : "}");
}

void case_yaml(const struct random_scenario *c, struct km_text *out)
{
    write_part(c, "", false, out);
}

/* The k-th block's hash: shared by those with the same prefix, or the request's own. */
static uint64_t block_hash(const struct row *row, size_t index, uint32_t block)
{
    return block < row->shared_blocks ? 1000u * row->prefix + block : 1000000u + 1000u * index + block;
}

static void write_hashes(const struct row *row, size_t index, const char *separator, struct km_text *out)
{
    uint32_t blocks = row->prefix ? (row->prompt_tokens + 511) / 512 : 0;
    for (uint32_t block = 0; block < blocks; block++)
        km_text_printf(out, "%s%" PRIu64, block ? separator : "", block_hash(row, index, block));
}

static void write_own(const struct random_scenario *c, struct km_text *out)
{
    km_text_puts(out, "arrival_s,prompt_tokens,output_tokens,id,session,class,prefix_hashes\n");
    for (size_t i = 0; i < c->row_count; i++) {
        const struct row *row = &c->rows[i];
        km_text_printf(out, "%" PRIu64 ".%06" PRIu64 ",%" PRIu32 ",%" PRIu32 ",", row->arrival_us / 1000000,
                       row->arrival_us % 1000000, row->prompt_tokens, row->output_tokens);
        if (i % 3 == 1)
            km_text_printf(out, "r%zu", i);
        km_text_puts(out, ",");
        if (row->session)
            km_text_printf(out, "%" PRIu32, row->session);
        km_text_puts(out, ",");
        if (row->class_index)
            km_text_printf(out, "c%" PRIu32, row->class_index);
        km_text_puts(out, ",");
        write_hashes(row, i, " ", out);
        km_text_puts(out, "\n");
    }
}

static void write_mooncake(const struct random_scenario *c, struct km_text *out)
{
    for (size_t i = 0; i < c->row_count; i++) {
        const struct row *row = &c->rows[i];
        km_text_printf(out,
                       "{\"timestamp\": %" PRIu64 ", \"input_length\": %" PRIu32
                       ", \"output_length\": %" PRIu32 ", \"hash_ids\": [",
                       row->arrival_us / 1000, row->prompt_tokens, row->output_tokens);
        write_hashes(row, i, ", ", out);
        km_text_puts(out, "]}\n");
    }
}

void case_trace(const struct random_scenario *c, struct km_text *out)
{
    if (c->mooncake)
        write_mooncake(c, out);
    else
        write_own(c, out);
}

static void put(const char *folder, const char *name, const struct km_text *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(km_text_c(text), 1, text->length, file) != text->length || fclose(file) != 0) {
        perror(path);
        abort();
    }
}

void case_write(const struct random_scenario *c, const char *folder)
{
    struct km_text yaml = {0}, trace = {0}, lengths = {0};
    case_yaml(c, &yaml);
    put(folder, "case.yaml", &yaml);
    if (c->row_count) {
        case_trace(c, &trace);
        put(folder, "trace", &trace);
    }
    km_text_puts(&lengths, "# tokens,weight\n3,2\n40,1\n111,0.5\n7\n");
    put(folder, "lengths.txt", &lengths);
    km_text_release(&yaml);
    km_text_release(&trace);
    km_text_release(&lengths);
}
