/* Every router keeps the contract of routing/routing.h, and each does what it is for. */
#include "routing/routing.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 12u

/* What the simulation does with a router. */
struct fleet {
    const struct km_router *router;
    void *state;
    uint32_t accepting[MOST], count;
    uint64_t outstanding[MOST];
    uint64_t waiting[MOST], running[MOST]; /* as their engines say */
    gsl_rng *rng;
    uint64_t next_id;
};

static void count(const void *context, uint32_t replica, uint64_t *waiting, uint64_t *running)
{
    const struct fleet *f = context;
    *waiting = f->waiting[replica];
    *running = f->running[replica];
}

static struct km_routing_view view_of(const struct fleet *f)
{
    return (struct km_routing_view){.accepting = f->accepting,
                                    .accepting_count = f->count,
                                    .most_accepting = MOST,
                                    .outstanding = f->outstanding,
                                    .rng = f->rng,
                                    .counts = count,
                                    .context = f};
}

static void join(struct fleet *f, uint32_t replica)
{
    uint32_t at = f->count++;
    for (; at > 0 && f->accepting[at - 1] > replica; at--)
        f->accepting[at] = f->accepting[at - 1];
    f->accepting[at] = replica;
    const struct km_routing_view view = view_of(f);
    if (f->router->joined)
        f->router->joined(f->state, &view, replica);
}

static void leave(struct fleet *f, uint32_t replica)
{
    uint32_t at = 0;
    while (f->accepting[at] != replica)
        at++;
    f->count--;
    memmove(&f->accepting[at], &f->accepting[at + 1], (f->count - at) * sizeof *f->accepting);
    const struct km_routing_view view = view_of(f);
    if (f->router->left)
        f->router->left(f->state, &view, replica);
}

static bool accepts(const struct fleet *f, uint32_t replica)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->accepting[i] == replica)
            return true;
    return false;
}

static void set_outstanding(struct fleet *f, uint32_t replica, uint64_t outstanding)
{
    f->outstanding[replica] = outstanding;
    const struct km_routing_view view = view_of(f);
    if (f->router->changed && accepts(f, replica))
        f->router->changed(f->state, &view, replica);
}

static void begin(struct fleet *f, const struct km_entry *entry, uint64_t seed, uint32_t replicas)
{
    *f = (struct fleet){.router = (const struct km_router *)(const void *)entry};
    f->state = km_alloc(f->router->state_bytes);
    f->rng = km_random_stream(seed, KM_RANDOM_ROUTING);
    for (uint32_t i = 0; i < replicas; i++)
        join(f, i);
}

static void end(struct fleet *f)
{
    if (f->router->release)
        f->router->release(f->state);
    free(f->state);
    gsl_rng_free(f->rng);
}

/* Where a request goes; it becomes outstanding there. */
static uint32_t send(struct fleet *f, int64_t session)
{
    const struct km_request request = {.id = f->next_id++, .session = session};
    const struct km_routing_view view = view_of(f);
    uint32_t replica = f->router->route(f->state, &view, &request);
    if (!accepts(f, replica))
        fail_msg("%s: replica %u does not accept requests", f->router->entry.name, replica);
    set_outstanding(f, replica, f->outstanding[replica] + 1);
    return replica;
}

/* Replicas come and go, requests come and end, at random: every request goes to one that accepts, and the
 * same seed gives the same choices. */
static void contract(void **state)
{
    (void)state;
    for (size_t r = 0; km_routing_registry[r]; r++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct fleet f[2];
            gsl_rng *script[2];
            for (int i = 0; i < 2; i++) {
                begin(&f[i], km_routing_registry[r], seed, 1 + (uint32_t)(seed % MOST));
                script[i] = km_random_stream(seed, KM_RANDOM_THINK);
            }
            for (int event = 0; event < 2000; event++) {
                uint32_t sent[2] = {0};
                for (int i = 0; i < 2; i++) {
                    uint32_t replica = (uint32_t)gsl_rng_uniform_int(script[i], MOST);
                    unsigned long kind = gsl_rng_uniform_int(script[i], 20);
                    int64_t session = (int64_t)gsl_rng_uniform_int(script[i], 30) - 1;
                    if (kind == 0 && !accepts(&f[i], replica))
                        join(&f[i], replica);
                    else if (kind == 1 && f[i].count > 1 && accepts(&f[i], replica))
                        leave(&f[i], replica);
                    else if (kind < 10 && f[i].outstanding[replica] > 0)
                        set_outstanding(&f[i], replica, f[i].outstanding[replica] - 1);
                    else
                        sent[i] = send(&f[i], session);
                }
                assert_int_equal(sent[0], sent[1]);
            }
            for (int i = 0; i < 2; i++) {
                end(&f[i]);
                gsl_rng_free(script[i]);
            }
        }
}

/* Requests without sessions, each ended before the next: nobody is preferred. Six standard deviations of a
 * binomial. */
static void balance(void **state)
{
    (void)state;
    enum { REPLICAS = 10, REQUESTS = 40000 };
    for (size_t r = 0; km_routing_registry[r]; r++) {
        struct fleet f;
        uint32_t sent[REPLICAS] = {0};
        begin(&f, km_routing_registry[r], 7, REPLICAS);
        for (int i = 0; i < REQUESTS; i++) {
            uint32_t replica = send(&f, -1);
            sent[replica]++;
            set_outstanding(&f, replica, 0);
        }
        for (int i = 0; i < REPLICAS; i++)
            if (fabs(sent[i] - REQUESTS / 10.0) > 6 * sqrt(REQUESTS * 0.1 * 0.9))
                fail_msg("%s: %u of %d requests went to replica %d", f.router->entry.name, sent[i], REQUESTS,
                         i);
        end(&f);
    }
}

static void counts_matter(void **state)
{
    (void)state;
    struct fleet f;
    begin(&f, &km_routing_find("least_outstanding")->entry, 1, 4);
    for (uint32_t i = 0; i < 8; i++) /* an even fleet is used in rotation */
        assert_int_equal(send(&f, -1), i % 4);
    set_outstanding(&f, 2, 0);
    assert_int_equal(send(&f, -1), 2);
    assert_int_equal(send(&f, -1), 2);
    assert_int_equal(send(&f, -1), 0); /* all have two; 0 waited longest */
    set_outstanding(&f, 1, 1);
    leave(&f, 1);
    assert_int_equal(send(&f, -1), 3);
    join(&f, 1);
    assert_int_equal(send(&f, -1), 1);
    end(&f);

    begin(&f, &km_routing_find("power_of_two")->entry, 1, 2); /* both are always asked */
    set_outstanding(&f, 0, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(send(&f, -1), 1);
    end(&f);
    begin(&f, &km_routing_find("power_of_two")->entry, 1, 5); /* the worst of several is never chosen */
    set_outstanding(&f, 3, 1000000);
    for (int i = 0; i < 1000; i++)
        assert_int_not_equal(send(&f, -1), 3);
    end(&f);

    begin(&f, &km_routing_find("round_robin")->entry, 1, 3);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(send(&f, -1), i % 3);
    end(&f);
}

/* Sessions stay; when a replica goes only its own move, and to everywhere; when one comes, sessions move only
 * to it, about one in so many. */
static void sessions_stay(void **state)
{
    (void)state;
    enum { SESSIONS = 6000, REPLICAS = 10 };
    static uint32_t home[SESSIONS], then[SESSIONS];
    struct fleet f;
    begin(&f, &km_routing_find("session")->entry, 1, REPLICAS);
    for (int i = 0; i < SESSIONS; i++)
        home[i] = send(&f, i);
    for (int i = 0; i < SESSIONS; i++)
        assert_int_equal(send(&f, i), home[i]);

    leave(&f, 3);
    uint32_t moved = 0, taken[REPLICAS] = {0};
    for (int i = 0; i < SESSIONS; i++) {
        then[i] = send(&f, i);
        if (home[i] != 3)
            assert_int_equal(then[i], home[i]);
        moved += then[i] != home[i];
        taken[then[i]] += then[i] != home[i];
    }
    assert_true(moved > SESSIONS / 10 * 0.8 && moved < SESSIONS / 10 * 1.2);
    for (uint32_t i = 0; i < REPLICAS; i++)
        assert_true(i == 3 ? taken[i] == 0 : taken[i] > moved / 18 && taken[i] < moved / 5);

    join(&f, 10); /* another one instead */
    moved = 0;
    for (int i = 0; i < SESSIONS; i++) {
        uint32_t now = send(&f, i);
        if (now != then[i])
            assert_int_equal(now, 10);
        moved += now != then[i];
    }
    assert_true(moved > SESSIONS / 10 * 0.8 && moved < SESSIONS / 10 * 1.2);
    end(&f);
}

static void observe(struct fleet *f, uint64_t now_ms)
{
    const struct km_routing_view view = view_of(f);
    f->router->observe(f->state, &view, now_ms * 1000000000u);
}

/* By hand, as vLLM's DPLBAsyncMPClient.get_core_engine_for_request() does it: scores 4 * waiting + running of what was
 * published, what was sent since waiting; the place that counts first among equals moves on. */
static void counts_are_published(void **state)
{
    (void)state;
    struct fleet f;
    begin(&f, &km_routing_find("data_parallel")->entry, 1, 3);
    const uint64_t waiting[] = {1, 0, 2}, running[] = {10, 13, 5}; /* 14, 13, 13 */
    for (int i = 0; i < 3; i++) {
        f.waiting[i] = waiting[i];
        f.running[i] = running[i];
    }
    assert_int_equal(send(&f, -1), 0); /* nothing is published yet: 0, 0, 0, and then 4, 0, 0 */
    observe(&f, 99);
    assert_int_equal(send(&f, -1), 1);
    observe(&f, 100);                  /* 14, 13, 13 */
    assert_int_equal(send(&f, -1), 2); /* the third from 2 on, of 1 and 2 with 13: it stands at 17 */
    assert_int_equal(send(&f, -1), 1); /* 14, 13, 17: at 17 */
    assert_int_equal(send(&f, -1), 0); /* 14, 17, 17: at 18 */
    assert_int_equal(send(&f, -1), 2); /* from 2 on: 17, 18, 17 */
    f.waiting[0] = f.running[0] = 0;
    observe(&f, 199);                  /* known a millisecond later */
    assert_int_equal(send(&f, -1), 1); /* 18, 17, 21 */
    observe(&f, 200);
    assert_int_equal(send(&f, -1), 0); /* 0, 13, 13: at 4, */
    for (int i = 0; i < 3; i++)
        assert_int_equal(send(&f, -1), 0); /* 8, 12, 16 */
    assert_int_equal(send(&f, -1), 2);     /* 16, 13, 13, from 2 on */
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract),
        cmocka_unit_test(balance),
        cmocka_unit_test(counts_matter),
        cmocka_unit_test(sessions_stay),
        cmocka_unit_test(counts_are_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
