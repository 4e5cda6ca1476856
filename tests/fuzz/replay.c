/* replay [--whole] FOLDER...: run a fuzz target over files, as an ordinary test: every file of the folders
 * named, whole and, without --whole, cut short at many places, and with single bytes changed. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT ((size_t)1 << 16)

static void mangle(uint8_t *bytes, size_t size)
{
    static const char replacements[] = {'\0', '\n', '\t', ' ', ':', '-', '"', '{', ']', '9', (char)0xff};
    size_t step = size / 64 + 1;
    LLVMFuzzerTestOneInput(bytes, size);
    for (size_t i = 0; i < size; i += step) {
        uint8_t *copy = malloc(size); /* exactly as long, so that reading past the end shows */
        if (!copy)
            abort();
        memcpy(copy, bytes, size);
        copy[i] = (uint8_t)replacements[i % sizeof replacements];
        LLVMFuzzerTestOneInput(copy, size);
        LLVMFuzzerTestOneInput(bytes, i);
        free(copy);
    }
}

static int replay_folder(const char *folder, bool whole)
{
    int count = 0;
    DIR *stream = opendir(folder);
    if (!stream)
        return 0;
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        uint8_t *bytes = file ? malloc(LIMIT) : NULL;
        if (bytes) {
            size_t size = fread(bytes, 1, LIMIT, file);
            if (whole)
                LLVMFuzzerTestOneInput(bytes, size);
            else
                mangle(bytes, size);
            count++;
        }
        free(bytes);
        if (file)
            fclose(file);
    }
    closedir(stream);
    return count;
}

int main(int argc, char **argv)
{
    bool whole = argc > 1 && strcmp(argv[1], "--whole") == 0;
    int first = whole ? 2 : 1;
    for (int i = first; i < argc; i++) {
        int count = replay_folder(argv[i], whole);
        printf("%s: %d files\n", argv[i], count);
        if (count == 0)
            return 1;
    }
    return argc > first ? 0 : 1;
}
