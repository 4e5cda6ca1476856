#include "table.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <queue>
#include <sstream>
#include <unistd.h>

std::string Shape::table() const
{
    std::string text = op;
    for (const auto &name : names)
        text += "," + name.first + "=" + name.second;
    return text;
}

static std::string number(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.10g", value);
    return text;
}

std::string Shape::key() const
{
    std::string text = table();
    for (const auto &entry : sizes)
        text += "," + entry.first + "=" + number(entry.second);
    return text;
}

double Shape::size(const char *name) const
{
    for (const auto &entry : sizes)
        if (entry.first == name)
            return entry.second;
    die("shape %s has no size %s", key().c_str(), name);
}

static std::vector<std::string> split(const std::string &line)
{
    std::vector<std::string> cells;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');)
        cells.push_back(cell);
    return cells;
}

Tables::Tables(const std::string &csv_path)
{
    if (csv_path.empty())
        return;
    std::ifstream in(csv_path);
    std::vector<std::string> columns;
    std::vector<Row> read;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#')
            continue;
        std::vector<std::string> cells = split(line);
        if (cells[0] == "op") {
            columns = cells;
            continue;
        }
        if (cells.size() != columns.size()) // the line a broken run ended in
            continue;
        Row row;
        row.shape.op = cells[0];
        for (size_t i = 1; i < cells.size(); i++) {
            char *end;
            double value = strtod(cells[i].c_str(), &end);
            if (columns[i] == "us" || columns[i] == "value")
                row.sample.us = value;
            else if (columns[i] == "spread")
                row.sample.spread = value;
            else if (*end)
                row.shape.names.push_back({columns[i], cells[i]});
            else
                row.shape.sizes.push_back({columns[i], value});
        }
        read.push_back(row);
    }
    in.close();
    file_ = fopen(csv_path.c_str(), "a");
    if (!file_)
        die("cannot write %s", csv_path.c_str());
    FILE *file = std::exchange(file_, nullptr); // what was read is in the file already
    for (const Row &row : read)
        add(row.shape, row.sample);
    file_ = file;
}

Tables::~Tables()
{
    if (file_)
        fclose(file_);
}

bool Tables::has(const Shape &shape) const
{
    return keys_.count(shape.key()) != 0;
}

std::vector<std::string> Tables::names() const
{
    std::vector<std::string> names;
    for (const auto &tree : trees_)
        names.push_back(tree.first);
    return names;
}

std::vector<Shape> Tables::some(const std::string &table, size_t count, std::mt19937 &random) const
{
    std::vector<Shape> shapes;
    for (const Row &row : rows_)
        if (row.shape.table() == table)
            shapes.push_back(row.shape);
    std::shuffle(shapes.begin(), shapes.end(), random);
    shapes.resize(std::min(count, shapes.size()));
    return shapes;
}

void Tables::write_line(const Row &row)
{
    std::string columns = "op", line = row.shape.op;
    for (const auto &name : row.shape.names) {
        columns += "," + name.first;
        line += "," + name.second;
    }
    for (const auto &entry : row.shape.sizes) {
        columns += "," + entry.first;
        line += "," + number(entry.second);
    }
    columns += ",us,spread";
    if (columns != columns_)
        fprintf(file_, "%s\n", columns.c_str());
    columns_ = columns;
    fprintf(file_, "%s,%.5g,%.3g\n", line.c_str(), row.sample.us, row.sample.spread);
    fflush(file_);
}

void Tables::add(const Shape &shape, const Sample &sample)
{
    if (!keys_.insert(shape.key()).second)
        return;
    rows_.push_back({shape, sample});
    Node *node = &trees_[shape.table()];
    for (const auto &entry : shape.sizes)
        node = &node->next[entry.second];
    node->row = (long)rows_.size() - 1;
    if (file_)
        write_line(rows_.back());
}

size_t Tables::outliers() const
{
    return (size_t)std::count_if(rows_.begin(), rows_.end(),
                                 [](const Row &row) { return row.sample.spread > 0.1 * row.sample.us; });
}

double Tables::descend(const Node &node, const Shape &shape, size_t depth,
                       const std::function<double(const Shape &)> &roofline_us) const
{
    if (depth == shape.sizes.size()) {
        const Row &row = rows_[(size_t)node.row];
        return std::log(roofline_us(row.shape) / row.sample.us);
    }
    const double wanted = shape.sizes[depth].second;
    auto above = node.next.lower_bound(wanted);
    if (above == node.next.end())
        return descend(std::prev(above)->second, shape, depth + 1, roofline_us);
    double high = descend(above->second, shape, depth + 1, roofline_us);
    if (above->first <= wanted || above == node.next.begin())
        return high;
    auto below = std::prev(above);
    double low = descend(below->second, shape, depth + 1, roofline_us);
    double part = (std::log1p(wanted) - std::log1p(below->first)) /
                  (std::log1p(above->first) - std::log1p(below->first));
    return low + part * (high - low);
}

double Tables::fraction(const Shape &shape, const std::function<double(const Shape &)> &roofline_us) const
{
    auto tree = trees_.find(shape.table());
    return tree == trees_.end() ? 0.0 : std::exp(descend(tree->second, shape, 0, roofline_us));
}

void Tables::write_json(const std::string &path, const std::string &device, const std::string &supplement,
                        const std::vector<std::pair<std::string, std::string>> &provenance) const
{
    const std::string temporary = path + ".tmp";
    FILE *out = fopen(temporary.c_str(), "w");
    if (!out)
        die("cannot write %s", temporary.c_str());
    fprintf(out, "{\n  \"schema\": 1,\n  \"device\": \"%s\",\n", device.c_str());
    if (!supplement.empty())
        fprintf(out, "  \"supplement\": \"%s\",\n", supplement.c_str());
    fprintf(out, "  \"provenance\": {");
    for (size_t i = 0; i < provenance.size(); i++)
        fprintf(out, "%s\n    \"%s\": \"%s\"", i ? "," : "", provenance[i].first.c_str(),
                provenance[i].second.c_str());
    fprintf(out, "\n  },\n  \"tables\": {");
    std::map<std::string, std::map<std::string, std::vector<const Row *>>> classes; // op, table, rows
    for (const Row &row : rows_)
        classes[row.shape.op][row.shape.op == "scalar" ? "" : row.shape.table()].push_back(&row);
    bool first_class = true;
    for (auto &entry : classes) {
        fprintf(out, "%s\n    \"%s\": [", first_class ? "" : ",", entry.first.c_str());
        first_class = false;
        bool first_table = true;
        for (auto &table : entry.second) {
            std::vector<const Row *> &rows = table.second;
            const bool scalar = entry.first == "scalar";
            std::sort(rows.begin(), rows.end(), [](const Row *a, const Row *b) {
                for (size_t i = 0; i < std::min(a->shape.sizes.size(), b->shape.sizes.size()); i++)
                    if (a->shape.sizes[i].second != b->shape.sizes[i].second)
                        return a->shape.sizes[i].second < b->shape.sizes[i].second;
                return false;
            });
            const Shape &shape = rows.front()->shape;
            fprintf(out, "%s\n      {", first_table ? "" : ",");
            first_table = false;
            if (!scalar && !shape.names.empty()) {
                fprintf(out, "\"fixed\": {");
                for (size_t i = 0; i < shape.names.size(); i++)
                    fprintf(out, "%s\"%s\": \"%s\"", i ? ", " : "", shape.names[i].first.c_str(),
                            shape.names[i].second.c_str());
                fprintf(out, "}, ");
            }
            fprintf(out, "\"dims\": [%s", scalar ? "\"name\"" : "");
            for (size_t i = 0; i < shape.sizes.size(); i++)
                fprintf(out, "%s\"%s\"", i ? ", " : "", shape.sizes[i].first.c_str());
            fprintf(out, "], \"rows\": [");
            for (size_t r = 0; r < rows.size(); r++) {
                fprintf(out, "%s\n[", r ? "," : "");
                if (scalar)
                    fprintf(out, "\"%s\", ", rows[r]->shape.names[0].second.c_str());
                for (const auto &dim : rows[r]->shape.sizes)
                    fprintf(out, "%s, ", number(dim.second).c_str());
                fprintf(out, scalar ? "%.5g]" : "%.5g, %.3g]", rows[r]->sample.us, rows[r]->sample.spread);
            }
            fprintf(out, "]}");
        }
        fprintf(out, "]");
    }
    fprintf(out, "\n  }\n}\n");
    if (fclose(out) != 0 || rename(temporary.c_str(), path.c_str()) != 0)
        die("cannot write %s", path.c_str());
}

namespace
{

class Progress
{
  public:
    Progress(const char *title, double budget_s) : title_(title), budget_s_(budget_s)
    {
    }
    ~Progress()
    {
        fprintf(stderr, "%s%s: %zu shapes in %.1f s, %zu intervals left above the target%s\n",
                terminal_ ? "\r" : "", title_, shapes_, seconds(), left_, terminal_ ? "          " : "");
    }
    void step()
    {
        shapes_++;
        if (terminal_ && shapes_ % 8 == 0) {
            int filled = (int)(20.0 * std::min(1.0, seconds() / budget_s_));
            fprintf(stderr, "\r%s [%.*s%.*s] %zu shapes", title_, filled, "####################", 20 - filled,
                    "                    ", shapes_);
        }
    }
    double seconds() const
    {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    void left(size_t count)
    {
        left_ = count;
    }

  private:
    const char *title_;
    double budget_s_;
    size_t shapes_ = 0, left_ = 0;
    bool terminal_ = isatty(2);
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct Interval {
    double priority;
    size_t line;
    double low, high;
    bool operator<(const Interval &other) const
    {
        return priority < other.priority;
    }
};

} // namespace

void measure_refined(Tables &tables, const Refinement &refinement)
{
    Progress progress(refinement.title, refinement.budget_s);
    auto shape_at = [&](const Line &line, double value) {
        Shape shape = line.shape;
        shape.sizes.back().second = value;
        return shape;
    };
    // Measures and says how far off interpolation had been.
    auto measure = [&](const Line &line, double value) {
        Shape shape = shape_at(line, value);
        if (tables.has(shape))
            return 0.0;
        double fraction = tables.fraction(shape, refinement.roofline_us);
        Sample sample = refinement.measure(shape);
        progress.step();
        tables.add(shape, sample);
        return fraction > 0.0 ? std::fabs(refinement.roofline_us(shape) / fraction / sample.us - 1.0) : 0.0;
    };
    // In random order: what drifts while a table is measured, as the device's temperature does, must not look
    // like a property of the shapes.
    std::vector<std::pair<size_t, double>> order;
    for (size_t l = 0; l < refinement.lines.size(); l++)
        for (double value : refinement.lines[l].values)
            order.push_back({l, value});
    std::shuffle(order.begin(), order.end(), std::mt19937(11));
    for (const auto &one : order) {
        if (progress.seconds() > refinement.budget_s)
            return;
        measure(refinement.lines[one.first], one.second);
    }
    std::priority_queue<Interval> intervals;
    for (size_t l = 0; l < refinement.lines.size(); l++) {
        const Line &line = refinement.lines[l];
        // How well each inner value follows from its neighbours says where the line bends.
        std::vector<double> bend(line.values.size(), 0.0);
        for (size_t i = 1; i + 1 < line.values.size(); i++) {
            Tables neighbours("");
            for (size_t j : {i - 1, i + 1}) {
                Shape shape = shape_at(line, line.values[j]);
                neighbours.add(
                    shape,
                    {refinement.roofline_us(shape) / tables.fraction(shape, refinement.roofline_us), 0.0});
            }
            Shape shape = shape_at(line, line.values[i]);
            bend[i] = std::fabs(neighbours.fraction(shape, refinement.roofline_us) /
                                    tables.fraction(shape, refinement.roofline_us) -
                                1.0);
        }
        for (size_t i = 0; i + 1 < line.values.size(); i++)
            intervals.push({0.5 * std::max(bend[i], bend[i + 1]), l, line.values[i], line.values[i + 1]});
    }
    while (!intervals.empty() && intervals.top().priority > refinement.target) {
        if (progress.seconds() > refinement.budget_s)
            break;
        Interval worst = intervals.top();
        intervals.pop();
        double middle = refinement.round(std::sqrt(worst.low * worst.high));
        if (middle <= worst.low || middle >= worst.high)
            continue;
        double off = measure(refinement.lines[worst.line], middle);
        intervals.push({0.5 * off, worst.line, worst.low, middle});
        intervals.push({0.5 * off, worst.line, middle, worst.high});
    }
    size_t left = 0;
    for (; !intervals.empty() && intervals.top().priority > refinement.target; intervals.pop())
        left++;
    progress.left(left);
}
