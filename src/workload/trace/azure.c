/* Azure LLM inference datasets, 2023 (Splitwise, ISCA'24) and 2024 (DynamoLLM, HPCA'25): the same three
 * columns; 2023 stamps have seven decimals and no zone, 2024 ones six (or none) and "+00:00". */
#include "workload/trace/formats.h"

#include "workload/trace/csv.h"

enum { STAMP, CONTEXT, GENERATED };

static const struct km_trace_column columns[] = {
    [STAMP] = {"TIMESTAMP", false},
    [CONTEXT] = {"ContextTokens", false},
    [GENERATED] = {"GeneratedTokens", false},
    {NULL, false},
};

static bool detect(struct km_span first_line)
{
    return km_trace_csv_detect(columns, first_line);
}

static enum km_status header(struct km_trace_parser *parser, const struct km_trace_line *line,
                             struct km_error *error)
{
    return km_trace_csv_header(parser, columns, line, error);
}

static enum km_status parse(struct km_trace_parser *parser, const struct km_trace_line *line,
                            struct km_request *out, struct km_trace_time *at, struct km_error *error)
{
    struct km_span fields[3];
    enum km_status status = km_trace_csv_split(parser->columns, line, fields, error);
    if (status != KM_OK)
        return status;
    if (!km_scan_timestamp(fields[STAMP], at))
        return km_trace_fail(line, fields[STAMP].text, error,
                             "TIMESTAMP: expected YYYY-MM-DD HH:MM:SS[.fraction][+HH:MM], got \"%.*s\"",
                             KM_SPAN_ARGS(fields[STAMP]));
    status = km_trace_csv_tokens(line, columns[CONTEXT].name, fields[CONTEXT], &out->prompt_tokens, error);
    if (status == KM_OK)
        status =
            km_trace_csv_tokens(line, columns[GENERATED].name, fields[GENERATED], &out->output_tokens, error);
    return status;
}

static void write_header(FILE *stream, unsigned fields)
{
    (void)fields;
    fputs("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", stream);
}

static enum km_status write_request(FILE *stream, unsigned fields, const struct km_request *request,
                                    const char *class_name, struct km_error *error)
{
    (void)fields, (void)class_name, (void)error;
    km_print_timestamp(stream, request->arrival_ps);
    fprintf(stream, ",%u,%u\r\n", request->prompt_tokens, request->output_tokens);
    return KM_OK;
}

const struct km_trace_format km_trace_azure = {
    .entry = {"azure", "Azure LLM inference dataset CSV (2023 and 2024)"},
    .detect = detect,
    .header = header,
    .parse = parse,
    .write_header = write_header,
    .write = write_request,
};
