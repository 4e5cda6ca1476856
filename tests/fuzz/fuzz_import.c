/* Any bytes as a table that an importer reads: a profile that reads again, or exactly one error. The first
 * line says which table of which importer it is; the tables beside it are sound. Start from the tables of
 * tests/data/profiles as the corpus. */
#include "calibration/import/import.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Later lines win: what only one table's header has comes last. */
static const struct {
    const char *word, *importer, *file;
} tables[] = {
    {"", "csv", "table.csv"},
    {"layer", "llmservingsim", "dense.csv"},
    {"sequences", "llmservingsim", "per_sequence.csv"},
    {"n_decode", "llmservingsim", "attention.csv"},
    {"kv_big", "llmservingsim", "skew.csv"},
    {"activated_experts", "llmservingsim", "moe.csv"},
    {"num_tokens", "vidur", "mlp.csv"},
    {"kv_cache_size", "vidur", "attention.csv"},
    {"all_reduce", "vidur", "all_reduce.csv"},
    {"send_recv", "vidur", "send_recv.csv"},
};

static const struct {
    const char *importer, *file, *text;
} beside[] = {
    {"llmservingsim", "dense.csv", "layer,tokens,time_us\nqkv_proj,16,55\n"},
    {"llmservingsim", "per_sequence.csv", "layer,sequences,time_us\nlm_head,8,1100\n"},
    {"llmservingsim", "attention.csv",
     "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n256,64,0,0,40\n0,0,16,1024,99\n"},
    {"vidur", "mlp.csv",
     "time_stats.attn_pre_proj.median,n_head,n_kv_head,n_embd,n_expanded_embd,num_tokens,"
     "num_tensor_parallel_workers\n0.027,32,8,4096,14336,64,2\n"},
    {"vidur", "attention.csv",
     "time_stats.attn_decode.median,n_q_head,n_kv_head,n_embd,batch_size,prefill_chunk_size,kv_cache_size,"
     "num_tensor_parallel_workers\n0.025,32,8,4096,8,0,512,2\n"},
};

static char folder[] = "/tmp/kingman-fuzz-XXXXXX";

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    if (!stream || (size > 0 && fwrite(bytes, 1, size, stream) != size) || fclose(stream) != 0)
        abort();
}

static void remove_files(void)
{
    char path[64];
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, tables[i].file);
        unlink(path);
    }
}

static void leave(void)
{
    remove_files();
    rmdir(folder);
}

/* The table whose columns the first line names. */
static size_t table_of(const uint8_t *data, size_t size)
{
    char line[512];
    size_t length = size < sizeof line - 1 ? size : sizeof line - 1, found = 0;
    memcpy(line, data, length);
    line[length] = '\0';
    line[strcspn(line, "\n")] = '\0';
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strstr(line, tables[i].word))
            found = i;
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct km_layer layers[] = {{.mixer = KM_ATTENTION,
                                              .heads = 8,
                                              .kv_heads = 2,
                                              .head_dim = 64,
                                              .value_dim = 64,
                                              .qk_norm = true,
                                              .mlp = KM_MLP_DENSE,
                                              .gated = true,
                                              .intermediate = 1024},
                                             {.mixer = KM_ATTENTION,
                                              .heads = 8,
                                              .kv_heads = 2,
                                              .head_dim = 64,
                                              .value_dim = 64,
                                              .mlp = KM_MLP_MOE,
                                              .gated = true,
                                              .experts = 16,
                                              .experts_per_token = 2,
                                              .expert_intermediate = 256,
                                              .shared_intermediate = 256}};
    struct km_device device = {.name = "any", .bandwidth_bytes_per_s = 1e12, .kernel_graph_s = 1e-6};
    struct km_model model = {.name = "any",
                             .path = "any.json",
                             .hidden = 512,
                             .vocab = 1000,
                             .layer_count = 2,
                             .precision = {.weights = KM_BF16, .activations = KM_BF16}};
    static bool opened;
    if (!opened && (!mkdtemp(folder) || atexit(leave) != 0))
        abort();
    opened = true;
    for (int dtype = 0; dtype < KM_DTYPE_COUNT; dtype++)
        device.peak_flops_per_s[dtype] = 1e15;
    device.node.link.bandwidth_bytes_per_s = 1e11;
    model.layers = layers;

    const size_t table = table_of(data, size);
    const char *importer = tables[table].importer;
    char source[64];
    snprintf(source, sizeof source, "%s%s", folder, table == 0 ? "/table.csv" : "");
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (strcmp(beside[i].importer, importer) == 0)
            write_file(beside[i].file, beside[i].text, strlen(beside[i].text));
    write_file(tables[table].file, data, size);

    const struct km_import_config config = {
        .source = source, .device = &device, .model = &model, .tensor_parallel = 1};
    struct km_text json = {0};
    struct km_error error = {0};
    enum km_status status =
        km_import((const struct km_importer *)(const void *)km_registry_find(km_import_registry, importer),
                  &config, size % 2 ? 4096 : 0, &json, &error);
    if (status == KM_OK) {
        struct km_profile profile;
        if (km_profile_parse(km_text_c(&json), json.length, NULL, &profile, &error) != KM_OK)
            abort();
        km_profile_release(&profile);
    } else if (status != KM_BAD_INPUT || !error.message[0]) {
        abort();
    }
    km_text_release(&json);
    remove_files();
    return 0;
}
