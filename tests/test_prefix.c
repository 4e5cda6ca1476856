/* The manager `prefix`: cases worked out by hand. */
#include "support/kv_moves.h"
#include "workload/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define HASHED(...)                                                                                          \
    {                                                                                                        \
        .prefix_hashes = (const uint64_t[]){__VA_ARGS__},                                                    \
        .prefix_hash_count = sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)                      \
    }

/* Blocks of 256 tokens: two under each hash. */
static struct km_kv *halves(uint64_t blocks)
{
    return create("prefix", blocks, 256);
}

static void hits_and_misses(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    assert_int_equal(kv->used_blocks, 4);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 0);
    const struct {
        struct km_sequence sequence;
        uint32_t tokens, hit;
    } probes[] = {
        {HASHED(1, 2, 3), 1100, 1024},
        {HASHED(1, 2), 1024, 768}, /* one token must be computed */
        {HASHED(1, 2), 1025, 1024},
        {HASHED(1, 2), 1023, 768}, /* whole blocks only */
        {HASHED(1, 2), 256, 0},
        {HASHED(1, 2), 257, 256},
        {HASHED(1, 2), 1, 0},
        {HASHED(1, 3), 1024, 512},       /* another end */
        {HASHED(3, 2), 1024, 0},         /* the same behind another beginning */
        {HASHED(2), 512, 0},             /* ... or none */
        {HASHED(1), 1024, 512},          /* known no further */
        {{.prompt_tokens = 1}, 1024, 0}, /* unique */
    };
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
        assert_int_equal(kv->manager->match(kv, &probes[i].sequence, probes[i].tokens), probes[i].hit);
    kv->manager->destroy(kv);
}

/* What is scheduled can be hit at once, in the same batch. */
static void hits_what_is_scheduled(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2), b = HASHED(1, 2, 3), c = HASHED(1, 2, 4);
    assert_int_equal(admit(kv, &a, 1024, 600), 0); /* two whole blocks and a begun one */
    assert_int_equal(kv->used_blocks, 3);
    assert_int_equal(admit(kv, &b, 1100, 1), 512);
    assert_int_equal(kv->used_blocks, 4);
    assert_true(kv->manager->extend(kv, &a, 600, 1024));
    assert_int_equal(kv->used_blocks, 5);
    assert_int_equal(admit(kv, &c, 1100, 1), 1024);
    assert_int_equal(kv->used_blocks, 6);
    /* b goes on with blocks of its own: it looked when it was admitted. */
    assert_true(kv->manager->extend(kv, &b, 513, 1100));
    assert_int_equal(kv->used_blocks, 8);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 8); /* a's first two are b's, too, and all four are c's */
    end(kv, &c, 1025);
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &b, 1100);
    assert_int_equal(kv->used_blocks, 0);
    kv->manager->destroy(kv);
}

/* What others hold costs nothing; what is cached but free does, for it is free no more. */
static void room(void **state)
{
    (void)state;
    struct km_kv *kv = halves(5);
    struct km_sequence a = HASHED(1, 2), b = HASHED(1, 2), c = {0}, d = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    assert_int_equal(admit_all(kv, &c, 256), 0);
    assert_int_equal(admit_all(kv, &b, 1024), -1); /* 768 hits, but not one block left */
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &c, 256);
    assert_int_equal(admit_all(kv, &b, 1024), 768);
    assert_int_equal(kv->used_blocks, 5);
    end(kv, &a, 1024);
    assert_int_equal(kv->used_blocks, 4);
    end(kv, &b, 1024);
    assert_int_equal(admit_all(kv, &c, 512), 0);   /* a's own fourth block, and the one nobody named */
    assert_int_equal(admit_all(kv, &d, 1025), -1); /* five blocks, three are free */
    assert_int_equal(admit_all(kv, &d, 700), 512);
    assert_int_equal(kv->used_blocks, 5);
    assert_int_equal(kv->peak_blocks, 5);
    kv->manager->destroy(kv); /* with sequences still in it */
}

/* The least recently used goes first, and of a sequence its end. */
static void eviction_order(void **state)
{
    (void)state;
    struct km_kv *kv = halves(7);
    struct km_sequence a = HASHED(1), b = HASHED(2), c = HASHED(3);
    struct km_sequence taker[5] = {0}, again = HASHED(2);
    assert_int_equal(admit_all(kv, &a, 512), 0);
    assert_int_equal(admit_all(kv, &b, 512), 0);
    assert_int_equal(admit_all(kv, &c, 512), 0);
    end(kv, &a, 512);
    end(kv, &b, 512);
    end(kv, &c, 512);
#define CACHED(s) kv->manager->match(kv, &(s), 513)
    assert_int_equal(admit_all(kv, &taker[0], 1), 0); /* one block was never used */
    assert_true(CACHED(a) == 512 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &taker[1], 1), 0);
    assert_true(CACHED(a) == 256 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &again, 257), 256); /* b's beginning is used again, and a's gives way */
    assert_true(CACHED(a) == 0 && CACHED(b) == 512 && CACHED(c) == 512);
    assert_int_equal(admit_all(kv, &taker[2], 1), 0);
    assert_true(CACHED(b) == 256 && CACHED(c) == 512);
    end(kv, &again, 257); /* its unnamed block goes in front of b's beginning */
    assert_int_equal(admit_all(kv, &taker[3], 512), 0);
    assert_true(CACHED(b) == 256 && CACHED(c) == 0);
    assert_int_equal(admit_all(kv, &taker[4], 1), 0);
    assert_true(CACHED(b) == 256);
    assert_int_equal(kv->used_blocks, 6);
    end(kv, &taker[3], 512); /* behind it */
    struct km_sequence last = {0};
    assert_int_equal(admit_all(kv, &last, 1), 0);
    assert_int_equal(CACHED(b), 0);
    kv->manager->destroy(kv);
}

/* A preempted sequence finds its own blocks: of the prompt, and of what it generated. Beyond the hashes
 * nobody else does. */
static void preempted(void **state)
{
    (void)state;
    struct km_kv *kv = halves(100);
    struct km_sequence a = HASHED(1, 2), twin = HASHED(1, 2), longer = HASHED(1, 2, 3);
    a.id = 1;
    twin.id = longer.id = 2;
    twin.preemptions = 1;
    assert_int_equal(admit_all(kv, &a, 600), 0);
    decode(kv, 600, 1400);
    assert_int_equal(kv->used_blocks, 6);
    assert_int_equal(kv->manager->match(kv, &twin, 1024), 512); /* not while it decodes */
    preempt(kv, &a, 1400);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &twin, 1024), 768);
    assert_int_equal(kv->manager->match(kv, &twin, 1401), 1024);
    assert_int_equal(kv->manager->match(kv, &longer, 1401), 1024);
    assert_int_equal(admit(kv, &a, 1401, 1), 1280);
    assert_int_equal(kv->used_blocks, 6);
    preempt(kv, &a, 1281); /* again, while it is recomputing */
    assert_int_equal(admit_all(kv, &a, 1401), 1280);
    decode(kv, 1401, 1800);
    assert_int_equal(kv->used_blocks, 8);
    end(kv, &a, 1800);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &longer, 1801), 1024);
    kv->manager->destroy(kv);
}

/* Without hashes, too; and others may need some of its blocks before it is back. */
static void preempted_without_hashes(void **state)
{
    (void)state;
    struct km_kv *kv = halves(12);
    struct km_sequence a = {.id = 1}, b = {.id = 2}, c = {.id = 3}, stranger = {.id = 4, .preemptions = 1};
    assert_int_equal(admit_all(kv, &a, 600), 0);
    decode(kv, 600, 1400);
    assert_null(a.kv); /* nothing is kept of a sequence that was never preempted */
    preempt(kv, &a, 1400);
    assert_int_equal(kv->used_blocks, 0);
    assert_int_equal(kv->manager->match(kv, &a, 1401), 1280); /* five whole blocks */
    assert_int_equal(kv->manager->match(kv, &a, 1280), 1024); /* one token must be computed */
    assert_int_equal(kv->manager->match(kv, &stranger, 1401), 0);
    assert_int_equal(admit_all(kv, &b, 1792), 0); /* six never used, and a's begun one */
    assert_int_equal(kv->manager->match(kv, &a, 1401), 1280);
    assert_int_equal(admit_all(kv, &c, 257), 0); /* a's fifth and fourth */
    assert_int_equal(kv->manager->match(kv, &a, 1401), 768);
    assert_int_equal(admit_all(kv, &a, 1401),
                     -1); /* of six blocks three are cached, and those alone are free */
    assert_int_equal(kv->used_blocks, 9);
    end(kv, &c, 257);
    assert_int_equal(admit_all(kv, &a, 1401), -1);
    end(kv, &b, 1792);
    assert_int_equal(admit(kv, &a, 1401, 300), 768);
    assert_int_equal(kv->used_blocks, 5);
    assert_true(kv->manager->extend(kv, &a, 1068, 1401));
    assert_int_equal(kv->used_blocks, 6);
    decode(kv, 1401, 1600);
    preempt(kv, &a, 1600);
    assert_int_equal(kv->manager->match(kv, &a, 1601), 1536);
    assert_int_equal(admit_all(kv, &a, 1601), 1536);
    decode(kv, 1601, 2048);
    end(kv, &a, 2048);
    assert_int_equal(kv->used_blocks, 0);
    /* What it generated after its last return has no name: it will not come again. */
    assert_int_equal(kv->manager->match(kv, &a, 2049), 1536);
    kv->manager->destroy(kv);
}

/* Two copies of a block: when the older is evicted, the younger is found. */
static void copies(void **state)
{
    (void)state;
    struct km_kv *kv = halves(4);
    struct km_sequence a = HASHED(1), b = HASHED(1), c = {0}, probe = HASHED(1);
    assert_int_equal(admit_all(kv, &a, 512), 0);
    end(kv, &a, 512);
    assert_int_equal(admit_all(kv, &b, 512), 256); /* computes its second block again */
    assert_int_equal(kv->used_blocks, 2);
    assert_int_equal(admit_all(kv, &c, 512), 0); /* the unused block, and a's second */
    assert_int_equal(kv->manager->match(kv, &probe, 513), 512);
    end(kv, &b, 512);
    assert_int_equal(kv->manager->match(kv, &probe, 513), 512);
    kv->manager->destroy(kv);
}

/* Blocks promised to decodes of the batch being formed are theirs already. */
static void promised(void **state)
{
    (void)state;
    struct km_kv *kv = halves(4);
    struct km_sequence a = HASHED(1, 2), probe = HASHED(1, 2);
    assert_int_equal(admit_all(kv, &a, 1024), 0);
    end(kv, &a, 1024);
    assert_int_equal(kv->manager->match(kv, &probe, 1025), 1024);
    kv->promised_blocks = 2;
    assert_int_equal(kv->manager->match(kv, &probe, 1025), 512);
    assert_int_equal(admit_all(kv, &probe, 600), -1);
    assert_int_equal(admit_all(kv, &probe, 512), 256);
    assert_int_equal(kv->used_blocks, 2);
    kv->promised_blocks = 0;
    assert_int_equal(km_kv_free_blocks(kv), 2);
    kv->manager->destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_and_misses),
        cmocka_unit_test(hits_what_is_scheduled),
        cmocka_unit_test(room),
        cmocka_unit_test(eviction_order),
        cmocka_unit_test(preempted),
        cmocka_unit_test(preempted_without_hashes),
        cmocka_unit_test(copies),
        cmocka_unit_test(promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
