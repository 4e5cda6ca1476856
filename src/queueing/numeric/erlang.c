#include "queueing/numeric/erlang.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

double km_erlang_b(double offered, uint32_t servers)
{
    assert(offered > 0 && isfinite(offered) && servers <= KM_SERVERS_LIMIT);
    double b = 1;
    for (uint32_t n = 1; n <= servers && b > 0; n++)
        b = offered * b / (n + offered * b);
    return b;
}

double km_erlang_c(double offered, uint32_t servers)
{
    if (offered >= servers)
        return 1;
    double b = km_erlang_b(offered, servers);
    return b / (1 - offered / servers * (1 - b));
}

enum km_status km_erlang_b_servers(double offered, double loss, uint32_t *servers, struct km_error *error)
{
    if (!(offered > 0) || !isfinite(offered))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "offered load: must be finite and > 0, got %g",
                       offered);
    if (!(loss > 0 && loss < 1))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "loss: must be above 0 and below 1, got %g", loss);
    double b = 1;
    uint32_t n = 0;
    while (b > loss && n < KM_SERVERS_LIMIT) {
        n++;
        b = offered * b / (n + offered * b);
    }
    *servers = n;
    if (b > loss)
        return km_fail(error, KM_NO, NULL, 0, 0, "%u servers still lose %.3g of an offered load of %g", n, b,
                       offered);
    return KM_OK;
}
