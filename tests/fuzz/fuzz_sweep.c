/* Any bytes as a section of axes, and as what an earlier process left in an output file and its journal
 * (parted by the first byte 1). A section that is taken spans points that can all be told; a file that is
 * taken ends whole, and one that is refused keeps its bytes. */
#define _XOPEN_SOURCE 700 /* mkdtemp() */

#include "base/file.h"
#include "scenario/axes.h"
#include "sweep/file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUNS 5

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_axes(const char *text, size_t size)
{
    static const char *const reserved[] = {"replications", NULL};
    struct km_arena arena = {0};
    struct km_error error = {0};
    struct km_yaml *root;
    struct km_axes axes;
    enum km_status status = km_yaml_parse(text, size, "input", true, &arena, &root, &error);
    if (status == KM_OK)
        status = km_axes_read(root, reserved, &arena, &axes, &error);
    require((status == KM_OK) == (error.message[0] == '\0'));
    if (status == KM_OK) {
        struct km_override *at = km_arena_alloc(&arena, (axes.count + 1) * sizeof *at);
        const uint64_t points[] = {0, axes.points / 2, axes.points - 1};
        require(axes.points >= 1 && axes.points <= KM_AXES_LIMIT_POINTS);
        for (size_t i = 0; i < 3; i++) {
            km_axes_point(&axes, points[i], at);
            for (uint32_t k = 0; k < axes.count; k++)
                require(at[k].key && at[k].value && km_rows_value(at[k].value, &arena));
        }
    }
    km_arena_release(&arena);
}

static void put(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    require(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void count_row(void *context, const char *line, size_t length)
{
    require(length > 0 && line[length - 1] == '\n');
    ++*(uint64_t *)context;
}

static void take_up(const char *path, const char *bytes, size_t size, enum km_rows_format format)
{
    static const char *const names[] = {"run", "value", "sweep"};
    const struct km_rows rows = {format, names, 3, "f1"};
    struct km_sweep_file *file;
    struct km_error error = {0};
    struct km_text row = {0};
    uint64_t seen = 0;
    if (km_sweep_file_open(path, &rows, RUNS, count_row, &seen, &file, &error) == KM_OK) {
        for (uint64_t run = RUNS; run-- > 0;) {
            char number[2] = {(char)('0' + run), '\0'};
            const char *cells[] = {number, "1", "\"f1\""};
            if (km_sweep_file_has(file, run))
                continue;
            km_text_reset(&row);
            km_rows_write(&rows, cells, &row);
            require(km_sweep_file_add(file, run, row.bytes, row.length, &error) == KM_OK);
        }
        require(km_sweep_file_close(file, &error) == KM_OK && seen == RUNS);
        seen = 0; /* what it left is whole: it is taken up again without a missing row */
        require(km_sweep_file_open(path, &rows, RUNS, count_row, &seen, &file, &error) == KM_OK &&
                seen == RUNS);
        require(km_sweep_file_close(file, &error) == KM_OK);
    } else {
        char *kept = NULL;
        size_t length = 0;
        require(error.message[0] && km_file_read(path, size + 1, &kept, &length, NULL) == KM_OK);
        require(length == size && memcmp(kept, bytes, size) == 0);
        free(kept);
    }
    km_text_release(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data, *journal = size ? memchr(bytes, 1, size) : NULL;
    size_t length = journal ? (size_t)(journal - bytes) : size;
    read_axes(bytes, size);
    for (int format = KM_ROWS_CSV; format <= KM_ROWS_JSONL; format++) {
        char folder[40], path[50], partial[60];
        /* in memory where that is possible: every close waits for the disk */
        snprintf(folder, sizeof folder, "%s/kingman-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        require(mkdtemp(folder) != NULL);
        snprintf(path, sizeof path, "%s/o", folder);
        snprintf(partial, sizeof partial, "%s.partial", path);
        put(path, bytes, length);
        if (journal)
            put(partial, journal + 1, size - length - 1);
        take_up(path, bytes, length, (enum km_rows_format)format);
        unlink(path);
        unlink(partial);
        require(rmdir(folder) == 0);
    }
    return 0;
}
