// Measured rows: the plain CSV of configs/profiles/README.md as they come (so that a broken run can be
// resumed), JSON at the end, and the interpolation that says where to measure next.
#ifndef KM_CALIBRATE_TABLE_HPP
#define KM_CALIBRATE_TABLE_HPP

#include "bench.hpp"

#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

// One measured shape: names (formats, kinds) first, then sizes, each in the class's own order.
struct Shape {
    std::string op;
    std::vector<std::pair<std::string, std::string>> names;
    std::vector<std::pair<std::string, double>> sizes;
    std::string table() const; // op and names
    std::string key() const;   // and sizes
    double size(const char *name) const;
};

class Tables
{
  public:
    // Rows already in the file count as measured; new ones are appended. "" = keep in memory only.
    explicit Tables(const std::string &csv_path);
    ~Tables();
    Tables(const Tables &) = delete;
    Tables &operator=(const Tables &) = delete;
    bool has(const Shape &shape) const;
    std::vector<std::string> names() const; // of all tables
    // `count` rows of a table (Shape::table()), chosen at random; fewer where it has fewer.
    std::vector<Shape> some(const std::string &table, size_t count, std::mt19937 &random) const;
    void add(const Shape &shape, const Sample &sample);
    void write_json(const std::string &path, const std::string &device, const std::string &supplement,
                    const std::vector<std::pair<std::string, std::string>> &provenance) const;
    size_t count() const
    {
        return rows_.size();
    }
    size_t outliers() const;

    // Fraction of the roofline at `shape`, interpolated: size by size between the two nearest measured,
    // linear in logarithms, the edge's beyond the edge. 0 without a table.
    double fraction(const Shape &shape, const std::function<double(const Shape &)> &roofline_us) const;

  private:
    struct Row {
        Shape shape;
        Sample sample;
    };
    struct Node {
        std::map<double, Node> next;
        long row = -1;
    };
    double descend(const Node &node, const Shape &shape, size_t depth,
                   const std::function<double(const Shape &)> &roofline_us) const;
    void write_line(const Row &row);
    std::vector<Row> rows_;
    std::set<std::string> keys_;
    std::map<std::string, Node> trees_; // by table()
    std::string columns_;               // of the last line written
    FILE *file_ = nullptr;
};

// Measures a line of shapes along its last size: the given values, then the middles of the intervals where
// interpolation was worst, until every interval checked is within `target` or the time is up.
struct Line {
    Shape shape; // its last size is replaced
    std::vector<double> values;
};
struct Refinement {
    std::vector<Line> lines;
    std::function<Sample(const Shape &)> measure;
    std::function<double(const Shape &)> roofline_us;
    std::function<double(double)> round; // to a size worth measuring
    double target, budget_s;
    const char *title;
};
void measure_refined(Tables &tables, const Refinement &refinement);

#endif
