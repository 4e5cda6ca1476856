#include "cost/profile/profile.h"

#include <math.h>
#include <string.h>

/* Rows [first, end) of a table that agree in all dims before `level`. */
struct branch {
    const struct km_profile_row *rows;
    const double *answers;
    size_t first, end;
    uint32_t level;
};

struct seeker {
    const struct km_profile_schema *schema;
    bool exact, outside;
};

/* A measured value this many times nearer or farther may stand in for a nearer one whose rows do not reach
 * around the dims that follow. */
#define STAND_IN       5.0
#define STAND_IN_TRIES 32

static double coordinate(double size)
{
    return log1p(size);
}

/* First row in [first, end) whose dim is >= value (or > value). */
static size_t bound(const struct branch *b, double value, bool above)
{
    size_t low = b->first, high = b->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        double at = b->rows[middle].dims[b->level];
        if (above ? at <= value : at < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct branch child(const struct branch *b, double value)
{
    struct branch c = *b;
    c.first = bound(b, value, false);
    c.end = bound(b, value, true);
    c.level++;
    return c;
}

/* Do a branch's rows reach around the sizes still asked for, on the way along the nearest values? */
static bool reaches(const struct seeker *s, const struct branch *b, const double *at)
{
    struct branch here = *b;
    for (; here.level < s->schema->dim_count; here.level++) {
        double asked = at[here.level], low = here.rows[here.first].dims[here.level],
               high = here.rows[here.end - 1].dims[here.level];
        if (s->schema->dims[here.level].kind != KM_DIM_SIZE)
            return true;
        if (asked < low || asked > high)
            return false;
        size_t above = bound(&here, asked, false);
        double value = here.rows[above].dims[here.level];
        if (above > here.first) {
            double below = here.rows[above - 1].dims[here.level];
            if ((asked + 1.0) * (asked + 1.0) < (below + 1.0) * (value + 1.0)) /* nearer in coordinates */
                value = below;
        }
        size_t first = bound(&here, value, false), end = bound(&here, value, true);
        here.first = first;
        here.end = end;
    }
    return true;
}

/* The same question with the dim that makes up for a neighbour's value, scaled. */
static void shifted(const struct seeker *s, uint32_t level, const double *at, double value, double *out)
{
    memcpy(out, at, KM_PROFILE_DIMS * sizeof *out);
    const char *with = s->schema->dims[level].shared_with;
    if (!with || value <= 0.0 || at[level] <= 0.0)
        return;
    for (uint32_t i = level + 1; i < s->schema->dim_count; i++)
        if (strcmp(s->schema->dims[i].name, with) == 0)
            out[i] *= at[level] / value;
}

/* Nearest value at or below (above) the one asked for; false when there is none. A farther one is preferred
 * when only its rows reach around the dims that follow. */
static bool neighbour(const struct seeker *s, const struct branch *b, const double *at, bool below,
                      double *out)
{
    double asked = at[b->level];
    size_t i = bound(b, asked, below);
    if (below ? i == b->first : i == b->end)
        return false;
    double nearest = b->rows[below ? i - 1 : i].dims[b->level];
    double value = nearest;
    for (int tries = 0; tries < STAND_IN_TRIES; tries++) {
        double moved[KM_PROFILE_DIMS];
        struct branch c = child(b, value);
        shifted(s, b->level, at, value, moved);
        if (reaches(s, &c, moved)) {
            *out = value;
            return true;
        }
        size_t next = below ? c.first : c.end;
        if (below ? next == b->first : next == b->end)
            break;
        value = b->rows[below ? next - 1 : next].dims[b->level];
        double farther = (value + 1.0) / (asked + 1.0);
        if (farther > STAND_IN || farther * STAND_IN < 1.0)
            break;
    }
    *out = nearest;
    return true;
}

static bool seek(struct seeker *s, const struct branch *b, const double *at, double *out)
{
    if (b->first == b->end)
        return false;
    if (b->level == s->schema->dim_count) {
        *out = b->answers[b->first];
        return true;
    }
    double asked = at[b->level];
    if (s->schema->dims[b->level].kind != KM_DIM_SIZE) {
        struct branch c = child(b, asked);
        return seek(s, &c, at, out);
    }
    double low = asked, high = asked, moved[KM_PROFILE_DIMS];
    bool has_low = neighbour(s, b, at, true, &low), has_high = neighbour(s, b, at, false, &high);
    if (!has_low || !has_high) {
        s->outside = true;
        low = high = has_low ? low : high;
    }
    s->exact &= low == asked && high == asked;
    struct branch c = child(b, low);
    shifted(s, b->level, at, low, moved);
    if (!seek(s, &c, moved, out))
        return false;
    if (high == low)
        return true;
    double upper, weight = (coordinate(asked) - coordinate(low)) / (coordinate(high) - coordinate(low));
    c = child(b, high);
    shifted(s, b->level, at, high, moved);
    if (!seek(s, &c, moved, &upper))
        return false;
    *out += weight * (upper - *out);
    return true;
}

bool km_profile_lookup(const struct km_profile *profile, enum km_profile_class class, const double *at,
                       struct km_profile_answer *out)
{
    const struct km_profile_table *table = &profile->tables[class];
    struct seeker s = {.schema = &km_profile_schemas[class], .exact = true};
    struct branch root = {table->rows, table->answers, 0, table->count, 0};
    double value;
    if (!table->answers || !seek(&s, &root, at, &value))
        return false;
    *out = (struct km_profile_answer){
        .value = s.schema->value ? value : exp(value), .exact = s.exact && !s.outside, .outside = s.outside};
    return true;
}

bool km_profile_predict(const struct km_profile_table *table, enum km_profile_class class, uint32_t level,
                        const struct km_profile_span *low, const struct km_profile_span *high,
                        const double *at, double *out)
{
    struct seeker s = {.schema = &km_profile_schemas[class]};
    struct branch below = {table->rows, table->answers, low->first, low->end, level + 1},
                  above = {table->rows, table->answers, high->first, high->end, level + 1};
    double from = table->rows[low->first].dims[level], to = table->rows[high->first].dims[level];
    double moved[KM_PROFILE_DIMS], upper;
    shifted(&s, level, at, from, moved);
    if (!seek(&s, &below, moved, out))
        return false;
    shifted(&s, level, at, to, moved);
    if (!seek(&s, &above, moved, &upper))
        return false;
    double weight = (coordinate(at[level]) - coordinate(from)) / (coordinate(to) - coordinate(from));
    *out += weight * (upper - *out);
    return true;
}
