// kingman-calibrate: measures the kernels of the CUDA executor on this device and writes a profile
// (configs/profiles/README.md). calibrate/README.md says what is measured and how.
#include "classes.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstring>
#include <ctime>
#include <getopt.h>
#include <sstream>

static const char usage[] =
    "usage: kingman-calibrate --out PROFILE.json [options]\n"
    "  --csv FILE       rows as they are measured; a run with the same file goes on where that one stopped\n"
    "                   (default: PROFILE.json with .csv instead)\n"
    "  --device NAME    name of the device description (default: h200-sxm and the like, from what the driver "
    "says)\n"
    "  --supplement NAME  profile of the same folder that answers what this one has no rows for\n"
    "  --classes LIST   of gemm,gemm_sustained,grouped_gemm,attention,stream,scalar,collective,layer "
    "(default: all; none: no more)\n"
    "  --again FILE     also measure the shapes of this file of rows: another device's share of a mean\n"
    "  --budget SECONDS of each class (default: 60)\n"
    "  --target ERROR   interpolation error at which a line of shapes is not refined further (default: "
    "0.03)\n"
    "  --quick          the smallest grid: does everything run?\n"
    "  --check N        also measure N random shapes of each class that are not in the profile and N/8 that "
    "are, and\n"
    "                   print how far off the profile is\n"
    "  --check-csv FILE where to write their rows\n"
    "  --seed N         of the random shapes (default: 1)\n"
    "  --gpu N          which one (default: 0)\n";

namespace
{

const struct {
    const char *name;
    void (*run)(Bench &, Tables &, const Ceilings &, const Plan &);
} all_classes[] = {{"scalar", scalar_class},
                   {"stream", stream_class},
                   {"collective", collective_class},
                   {"attention", attention_class},
                   {"gemm", gemm_class},
                   {"grouped_gemm", grouped_gemm_class},
                   {"layer", layer_class},
                   {"gemm_sustained", gemm_sustained_class}}; // last: it leaves the device hot

struct Options {
    std::string out, csv, device, supplement,
        classes = "gemm,gemm_sustained,grouped_gemm,attention,stream,scalar,collective,layer", check_csv,
        again;
    double budget_s = 60.0, target = 0.03;
    bool quick = false;
    int check = 0, gpu = 0;
    unsigned seed = 1;
};

double number(const char *text, const char *option)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0.0 && value < 1e9))
        die("%s: expected a number, got \"%s\"", option, text);
    return value;
}

void check_classes(const std::string &list)
{
    std::stringstream words(list);
    for (std::string word; std::getline(words, word, ',');) {
        bool known = word == "none";
        for (const auto &one : all_classes)
            known |= word == one.name;
        if (!known)
            die("--classes: unknown class \"%s\"", word.c_str());
    }
}

Options parse(int argc, char **argv)
{
    const struct option list[] = {
        {"out", 1, nullptr, 'o'},        {"csv", 1, nullptr, 'c'},     {"device", 1, nullptr, 'd'},
        {"supplement", 1, nullptr, 'S'}, {"classes", 1, nullptr, 'l'}, {"budget", 1, nullptr, 'b'},
        {"target", 1, nullptr, 't'},     {"quick", 0, nullptr, 'q'},   {"check", 1, nullptr, 'k'},
        {"check-csv", 1, nullptr, 'K'},  {"seed", 1, nullptr, 's'},    {"gpu", 1, nullptr, 'g'},
        {"again", 1, nullptr, 'a'},      {"help", 0, nullptr, 'h'},    {nullptr, 0, nullptr, 0}};
    Options options;
    for (int c; (c = getopt_long(argc, argv, "", list, nullptr)) != -1;) {
        switch (c) {
        case 'o':
            options.out = optarg;
            break;
        case 'c':
            options.csv = optarg;
            break;
        case 'd':
            options.device = optarg;
            break;
        case 'S':
            options.supplement = optarg;
            break;
        case 'l':
            options.classes = optarg;
            break;
        case 'b':
            options.budget_s = number(optarg, "--budget");
            break;
        case 't':
            options.target = number(optarg, "--target");
            break;
        case 'a':
            options.again = optarg;
            break;
        case 'q':
            options.quick = true;
            break;
        case 'k':
            options.check = (int)number(optarg, "--check");
            break;
        case 'K':
            options.check_csv = optarg;
            break;
        case 's':
            options.seed = (unsigned)number(optarg, "--seed");
            break;
        case 'g':
            options.gpu = (int)number(optarg, "--gpu");
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (options.out.empty() || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    check_classes(options.classes);
    if (options.csv.empty()) {
        size_t dot = options.out.rfind(".json");
        options.csv = (dot == std::string::npos ? options.out : options.out.substr(0, dot)) + ".csv";
    }
    return options;
}

// "NVIDIA H200" -> "h200-sxm": the names of configs/devices/ for what the driver calls them; else its own
// words.
std::string device_name(const std::string &vendor)
{
    const struct {
        const char *vendor, *name;
    } known[] = {{"NVIDIA H200", "h200-sxm"},
                 {"NVIDIA H100 80GB HBM3", "h100-sxm"},
                 {"NVIDIA H100 PCIe", "h100-pcie"},
                 {"NVIDIA A100-SXM4-80GB", "a100-80g-sxm"},
                 {"NVIDIA B200", "b200"},
                 {"NVIDIA L40S", "l40s"},
                 {"NVIDIA GeForce RTX 4090", "rtx-4090"}};
    for (const auto &entry : known)
        if (vendor == entry.vendor)
            return entry.name;
    std::string name = vendor.compare(0, 7, "NVIDIA ") == 0 ? vendor.substr(7) : vendor;
    for (char &c : name)
        c = isalnum((unsigned char)c) ? (char)tolower((unsigned char)c) : '-';
    return name;
}

std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char *format, ...)
{
    char buffer[512];
    va_list args;
    va_start(args, format);
    vsnprintf(buffer, sizeof buffer, format, args);
    va_end(args);
    return buffer;
}

std::string version(unsigned long number, unsigned long step)
{
    return text("%lu.%lu.%lu", number / (step * 100), number / step % 100, number % step);
}

std::string health(const Health &h)
{
    return h.sm_mhz
               ? text("SM %u MHz, memory %u MHz, %u C, %.0f W", h.sm_mhz, h.memory_mhz, h.celsius, h.watts)
               : "unknown";
}

} // namespace

int main(int argc, char **argv)
{
    const Options options = parse(argc, argv);
    const auto start = std::chrono::steady_clock::now();
    auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    Bench bench(options.gpu);
    Tables tables(options.csv);
    const Health before = bench.health();
    fprintf(stderr, "%s, driver %s, %s; %zu rows measured before\n", bench.properties.name,
            bench.driver().c_str(), health(before).c_str(), tables.count());
    verify_kernels(bench);
    const Ceilings ceilings = measure_ceilings(bench, tables);
    const Plan plan = {options.quick, options.budget_s, options.target};
    const std::string wanted = "," + options.classes + ",";
    if (!options.again.empty())
        measure_again(bench, tables, ceilings, options.again);
    bool checked = options.check == 0;
    for (const auto &one : all_classes) {
        // Before what heats the device until its clocks fall: kernels of a few microseconds would all be
        // slower.
        if (!checked && strcmp(one.name, "layer") == 0) {
            check(bench, tables, ceilings, {options.check, options.seed, options.check_csv});
            checked = true;
        }
        if (wanted.find(std::string(",") + one.name + ",") == std::string::npos)
            continue;
        double begun_s = seconds();
        one.run(bench, tables, ceilings, plan);
        fprintf(stderr, "%s: %.1f s; %s\n", one.name, seconds() - begun_s, health(bench.health()).c_str());
    }
    const time_t now = time(nullptr);
    char date[32];
    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    int runtime, l2 = bench.properties.l2CacheSize;
    CUDA(cudaRuntimeGetVersion(&runtime));
    std::string command = "kingman-calibrate";
    for (int i = 1; i < argc; i++)
        command += std::string(" ") + argv[i];
    tables.write_json(
        options.out, options.device.empty() ? device_name(bench.properties.name) : options.device,
        options.supplement,
        {{"source", "own measurement"},
         {"kernels_of", "kingman"},
         {"command", command},
         {"date", date},
         {"device", text("%s, %d multiprocessors, %d bytes of L2", bench.properties.name,
                         bench.properties.multiProcessorCount, l2)},
         {"driver", bench.driver()},
         {"cuda", text("%d.%d", runtime / 1000, runtime / 10 % 100)},
         {"cublas", version(km_cuda_blas_version(bench.blas), 100)},
         {"cudnn", version(km_cuda_dnn_version(), 100)},
         {"nccl", nccl_version()},
         {"kernels", "gemm: cuBLASLt, first of its heuristic, 32 MiB of workspace; grouped_gemm: "
                     "cublasGemmGroupedBatchedEx; "
                     "attention_prefill: cuDNN, keys and values in rows; attention_decode: own, split over "
                     "pages of 16; stream, one_shot, two_shot: own; collectives without NVLink multicast"},
         {"method", "CUDA graph replay between events, inputs rotated and caches scrubbed, random data, "
                    "median of 5 to 15 replays; "
                    "gemm in bursts after rest, gemm_sustained under continuous load"},
         {"before", health(before)},
         {"after", health(bench.health())},
         {"seconds", text("%.0f", seconds())},
         {"outliers", text("%zu rows have a spread above a tenth of their median", tables.outliers())}});
    fprintf(stderr, "%zu rows in %s after %.0f s\n", tables.count(), options.out.c_str(), seconds());
    return 0;
}
