/* A learned ranking: scores whose order agrees with that of the lengths to a stated Kendall's tau (learning to rank, Fu et
 * al., arXiv 2408.15792, which judges predictors by it).
 *
 * The score is exp(X + s Z), X the length's logarithm, Z standard normal. When X is normal with standard deviation d, X and
 * X + s Z have the correlation rho = d / sqrt(d^2 + s^2), and Kendall's tau of the two is 2 / pi arcsin(rho) (Kruskal,
 * "Ordinal measures of association", JASA 53, 1958). Hence
 *
 *     s = d sqrt(1 / sin^2(pi tau / 2) - 1)
 *
 * with d that of the logarithms of the lengths that have arrived so far (Welford's recursion). Exact for lognormal lengths;
 * of others, close. A score is no length: only its order means anything. */
#include "prediction/prediction.h"

#include <gsl/gsl_math.h>
#include <gsl/gsl_randist.h>
#include <math.h>

struct rank {
    KM_PREDICTION_NAME;
    double kendall_tau;
};

struct lengths {
    uint64_t count;
    double mean, squares; /* of the logarithms: sum of squared deviations */
};

static const struct km_setting settings[] = {
    KM_PREDICTION_NAME_SETTING,
    {"kendall_tau", KM_SETTING_NUMBER, offsetof(struct rank, kendall_tau), KM_ABOVE_UP_TO(0, 1),
     .doc = "rank: agreement of the order with that of the lengths; 1 = the same"},
    {0},
};
static const struct rank defaults = {"rank", 1};

static double predict(void *state, const void *chosen, const struct km_request *request, gsl_rng *rng)
{
    struct lengths *seen = state;
    const struct rank *rank = chosen;
    double x = log(request->output_tokens), above = x - seen->mean;
    seen->mean += above / (double)++seen->count;
    seen->squares += above * (x - seen->mean);
    double rho = sin(M_PI_2 * rank->kendall_tau);
    double s = sqrt(seen->squares / (double)seen->count * fmax(1 / (rho * rho) - 1, 0));
    return exp(x + s * gsl_ran_ugaussian(rng));
}

const struct km_prediction_kind km_prediction_rank = {
    .entry = {"rank", "scores in the order of the lengths, to a given Kendall's tau"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .state_bytes = sizeof(struct lengths),
    .predict = predict,
};
