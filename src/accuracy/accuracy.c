#include "accuracy/accuracy.h"

#include "engine/engine.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const km_accuracy_metrics[] = {"throughput", "tpot", "ttft", "e2e", NULL};

static const char *const names[KM_ACCURACY_DIMS] = {
    [KM_ACCURACY_DEVICE] = "device", [KM_ACCURACY_ENGINE] = "engine", [KM_ACCURACY_FORMAT] = "format",
    [KM_ACCURACY_KIND] = "kind",     [KM_ACCURACY_COST] = "cost",     [KM_ACCURACY_METRIC] = "metric",
};

const char *km_accuracy_dim_name(enum km_accuracy_dim dim)
{
    return names[dim];
}

bool km_accuracy_dim_find(const char *name, enum km_accuracy_dim *out)
{
    for (int i = 0; i < KM_ACCURACY_DIMS; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (enum km_accuracy_dim)i;
            return true;
        }
    return false;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

static bool agrees(const struct km_accuracy_point *point, const struct km_accuracy_key *key)
{
    if (point->left_out[0])
        return false;
    for (int i = 0; i < KM_ACCURACY_DIMS; i++) {
        if (!key->of[i])
            continue;
        const bool same = i == KM_ACCURACY_ENGINE ? km_engine_is(key->of[i], point->key.of[i])
                                                  : strcmp(key->of[i], point->key.of[i]) == 0;
        if (!same)
            return false;
    }
    return true;
}

/* Words of the points, each once, in the order in which they come. */
struct words {
    struct km_text text;
    uint32_t count;
};

static void add_word(struct words *words, const char *word)
{
    const size_t length = strlen(word);
    const char *all = km_text_c(&words->text);
    for (const char *at = strstr(all, word); at; at = strstr(at + 1, word))
        if ((at == all || at[-1] == ' ') && (at[length] == ',' || at[length] == '\0'))
            return;
    km_text_printf(&words->text, "%s%s", words->count++ ? ", " : "", word);
}

void km_accuracy_sum(const struct km_accuracy *accuracy, const struct km_accuracy_key *key,
                     struct km_arena *arena, struct km_accuracy_row *out)
{
    double *ratios = km_alloc((accuracy->count + 1) * sizeof *ratios);
    struct words sources = {0}, profiles = {0};
    *out =
        (struct km_accuracy_row){.key = *key, .median = (double)NAN, .p10 = (double)NAN, .p90 = (double)NAN};
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct km_accuracy_point *point = &accuracy->points[i];
        if (!agrees(point, key))
            continue;
        if (out->points == 0 &&
            key->of[KM_ACCURACY_ENGINE]) /* the program, of whatever version was asked for */
            out->key.of[KM_ACCURACY_ENGINE] = km_arena_strdup(arena, point->key.of[KM_ACCURACY_ENGINE]);
        ratios[out->points++] = point->predicted / point->measured;
        add_word(&sources, point->source);
        add_word(&profiles, point->profile);
    }
    if (out->points > 0) {
        gsl_sort(ratios, 1, out->points);
        out->median = gsl_stats_quantile_from_sorted_data(ratios, 1, out->points, 0.5);
        out->p10 = gsl_stats_quantile_from_sorted_data(ratios, 1, out->points, 0.1);
        out->p90 = gsl_stats_quantile_from_sorted_data(ratios, 1, out->points, 0.9);
    }
    if (profiles.count == 1 && profiles.text.length > 0)
        out->profile = km_arena_strdup(arena, km_text_c(&profiles.text));
    out->sources = km_arena_strdup(arena, km_text_c(&sources.text));
    km_text_release(&profiles.text);
    km_text_release(&sources.text);
    free(ratios);
}

static int by_words(const void *a, const void *b)
{
    const struct km_accuracy_key *x = a, *y = b;
    for (int i = 0; i < KM_ACCURACY_DIMS; i++) {
        const int order = x->of[i] ? strcmp(x->of[i], y->of[i]) : 0;
        if (order)
            return order;
    }
    return 0;
}

size_t km_accuracy_rows(const struct km_accuracy *accuracy, const bool by[KM_ACCURACY_DIMS],
                        struct km_arena *arena, struct km_accuracy_row **out)
{
    struct km_accuracy_key *keys = km_alloc((accuracy->count + 1) * sizeof *keys);
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < accuracy->count; i++) {
        if (accuracy->points[i].left_out[0])
            continue;
        for (int dim = 0; dim < KM_ACCURACY_DIMS; dim++)
            keys[count].of[dim] = by[dim] ? accuracy->points[i].key.of[dim] : NULL;
        count++;
    }
    if (count > 0)
        qsort(keys, count, sizeof *keys, by_words);
    *out = km_arena_alloc(arena, (count + 1) * sizeof **out);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || by_words(&keys[i - 1], &keys[i]) != 0)
            km_accuracy_sum(accuracy, &keys[i], arena, &(*out)[kept++]);
    free(keys);
    return kept;
}

/* --- the closest row ------------------------------------------------------------------------------------ */

/* Dropped to reach a level, after those of the levels before. */
static const enum km_accuracy_dim dropped[KM_ACCURACY_NONE] = {
    [KM_ACCURACY_ANY_ENGINE] = KM_ACCURACY_ENGINE,
    [KM_ACCURACY_ANY_KIND] = KM_ACCURACY_KIND,
    [KM_ACCURACY_ANY_FORMAT] = KM_ACCURACY_FORMAT,
    [KM_ACCURACY_ANY_DEVICE] = KM_ACCURACY_DEVICE,
};

void km_accuracy_closest(const struct km_accuracy *accuracy, const struct km_accuracy_key *asked,
                         struct km_arena *arena, struct km_accuracy_answer *out)
{
    struct km_accuracy_key key;
    for (int i = 0; i < KM_ACCURACY_DIMS; i++) /* the answer may outlive who asked */
        key.of[i] = km_arena_strdup(arena, asked->of[i]);
    *out = (struct km_accuracy_answer){.asked = key};
    for (int level = KM_ACCURACY_SAME; level < KM_ACCURACY_NONE; level++) {
        if (level > KM_ACCURACY_SAME)
            key.of[dropped[level]] = NULL;
        km_accuracy_sum(accuracy, &key, arena, &out->row);
        out->level = (enum km_accuracy_level)level;
        if (out->row.points >= KM_ACCURACY_LEAST_POINTS)
            return;
    }
    out->level = KM_ACCURACY_NONE;
    out->row = (struct km_accuracy_row){
        .sources = "", .median = (double)NAN, .p10 = (double)NAN, .p90 = (double)NAN};
}

const char *km_accuracy_level_name(enum km_accuracy_level level)
{
    static const char *const level_names[] = {"same",       "any_engine", "any_kind",
                                              "any_format", "any_device", "none"};
    return level_names[level];
}

bool km_accuracy_same_row(const struct km_accuracy_answer *a, const struct km_accuracy_answer *b)
{
    if (a->level != b->level)
        return false;
    for (int i = 0; i < KM_ACCURACY_DIMS; i++) {
        const char *x = a->row.key.of[i], *y = b->row.key.of[i];
        if (x != y && (!x || !y || strcmp(x, y) != 0))
            return false;
    }
    return true;
}

/* The dims before the cost model. */
static void put_key(const struct km_accuracy_key *key, struct km_text *out)
{
    const char *comma = "";
    for (int i = 0; i < KM_ACCURACY_COST; i++)
        if (key->of[i]) {
            km_text_printf(out, "%s%s", comma, key->of[i]);
            comma = ", ";
        }
    if (!*comma)
        km_text_puts(out, "all devices");
}

void km_accuracy_describe(const struct km_accuracy_answer *answer, struct km_text *out)
{
    const struct km_accuracy_row *row = &answer->row;
    if (answer->level == KM_ACCURACY_SAME) {
        km_text_puts(out, "validated: ");
    } else {
        km_text_puts(out, "not validated on ");
        if (answer->level >= KM_ACCURACY_ANY_DEVICE)
            km_text_puts(out, answer->asked.of[KM_ACCURACY_DEVICE]);
        else
            put_key(&answer->asked, out);
        if (answer->level == KM_ACCURACY_NONE) {
            km_text_printf(out, ": no measurements for cost model %s", answer->asked.of[KM_ACCURACY_COST]);
            return;
        }
        km_text_puts(out, "; closest: ");
    }
    km_text_printf(out, "%u points of ", row->points);
    put_key(&row->key, out);
    if (row->profile)
        km_text_printf(out, ", profile %s", row->profile);
}
