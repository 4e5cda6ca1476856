#include "workload/trace/scan.h"

#include "base/simtime.h"

#define SECONDS_PER_DAY 86400

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool km_scan_u64(struct km_span span, uint64_t *out)
{
    uint64_t value = 0;
    if (span.length == 0 || span.length > 20)
        return false;
    for (size_t i = 0; i < span.length; i++) {
        if (!is_digit(span.text[i]))
            return false;
        uint64_t digit = (uint64_t)(span.text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool km_scan_i64(struct km_span span, int64_t *out)
{
    bool negative = span.length > 0 && span.text[0] == '-';
    uint64_t value;
    if (negative)
        span = (struct km_span){span.text + 1, span.length - 1};
    if (!km_scan_u64(span, &value) || value > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

/* Split "digits[.digits][e[+-]digits]"; *digits is the mantissa, *point the number of its digits before the
 * decimal point once the exponent is applied. */
static bool split_decimal(struct km_span span, struct km_span *digits, long *point)
{
    size_t i = 0, count = 0;
    long before = -1;
    for (; i < span.length && (is_digit(span.text[i]) || span.text[i] == '.'); i++) {
        if (span.text[i] != '.')
            count++;
        else if (before >= 0)
            return false;
        else
            before = (long)count;
    }
    *digits = (struct km_span){span.text, i};
    *point = before >= 0 ? before : (long)count;
    if (count == 0)
        return false;
    if (i == span.length)
        return true;
    if (span.text[i] != 'e' && span.text[i] != 'E')
        return false;
    i++;
    bool negative = i < span.length && span.text[i] == '-';
    if (i < span.length && (span.text[i] == '-' || span.text[i] == '+'))
        i++;
    long exponent = 0;
    if (i == span.length || span.length - i > 3)
        return false;
    for (; i < span.length; i++) {
        if (!is_digit(span.text[i]))
            return false;
        exponent = exponent * 10 + (span.text[i] - '0');
    }
    *point += negative ? -exponent : exponent;
    return true;
}

bool km_scan_seconds(struct km_span span, struct km_trace_time *out)
{
    struct km_span digits;
    long point;
    if (!split_decimal(span, &digits, &point))
        return false;
    uint64_t seconds = 0, ps = 0;
    long weight = point - 1; /* power of ten of the next digit */
    for (size_t i = 0; i < digits.length; i++) {
        if (digits.text[i] == '.')
            continue;
        uint64_t digit = (uint64_t)(digits.text[i] - '0');
        if (weight >= 0) {
            seconds = seconds * 10 + digit;
            if (seconds >= KM_PS_PER_S)
                return false;
        } else if (weight >= -12) {
            ps = ps * 10 + digit;
        } else if (weight == -13) {
            ps += digit >= 5;
        }
        weight--;
    }
    /* Digits the text leaves out are zeros; those above its first are zeros too and need no work. */
    for (; weight >= 0; weight--) {
        seconds *= 10;
        if (seconds >= KM_PS_PER_S)
            return false;
        if (seconds == 0)
            weight = 0;
    }
    if (ps > 0)
        for (; weight >= -12; weight--)
            ps *= 10;
    if (ps >= KM_PS_PER_S) { /* rounding carried */
        ps -= KM_PS_PER_S;
        seconds++;
    }
    *out = (struct km_trace_time){.s = (int64_t)seconds, .ps = ps};
    return true;
}

/* Days from 1970-01-01 to the given day of the Gregorian calendar. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - (month <= 2); /* leap days so far, counting this year's from March on */
    int64_t leaps = y / 4 - y / 100 + y / 400;
    return (year - 1970) * 365 + leaps - 477 + before[month - 1] + day - 1;
}

static bool two_digits(const char *text, int low, int high, int *out)
{
    if (!is_digit(text[0]) || !is_digit(text[1]))
        return false;
    *out = (text[0] - '0') * 10 + (text[1] - '0');
    return *out >= low && *out <= high;
}

static int month_days(int year, int month)
{
    if (month == 2)
        return 28 + ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0);
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* "", "Z", "+HH:MM", "-HH:MM"; seconds east of UTC. */
static bool scan_zone(struct km_span span, int *out)
{
    int hours, minutes;
    *out = 0;
    if (span.length == 0 || (span.length == 1 && span.text[0] == 'Z'))
        return true;
    if (span.length != 6 || (span.text[0] != '+' && span.text[0] != '-') || span.text[3] != ':' ||
        !two_digits(span.text + 1, 0, 23, &hours) || !two_digits(span.text + 4, 0, 59, &minutes))
        return false;
    *out = (hours * 60 + minutes) * (span.text[0] == '-' ? -60 : 60);
    return true;
}

bool km_scan_timestamp(struct km_span span, struct km_trace_time *out)
{
    const char *t = span.text;
    int century, years, month, day, hour, minute, second, zone;
    if (span.length < 19 || t[4] != '-' || t[7] != '-' || (t[10] != ' ' && t[10] != 'T') || t[13] != ':' ||
        t[16] != ':')
        return false;
    if (!two_digits(t, 0, 99, &century) || !two_digits(t + 2, 0, 99, &years) || century + years == 0 ||
        !two_digits(t + 5, 1, 12, &month) ||
        !two_digits(t + 8, 1, month_days(century * 100 + years, month), &day) ||
        !two_digits(t + 11, 0, 23, &hour) || !two_digits(t + 14, 0, 59, &minute) ||
        !two_digits(t + 17, 0, 59, &second))
        return false;
    size_t end = 19;
    struct km_trace_time fraction = {0};
    if (end < span.length && t[end] == '.') {
        for (end++; end < span.length && is_digit(t[end]); end++)
            ;
        if (end == 20 || !km_scan_seconds((struct km_span){t + 19, end - 19}, &fraction))
            return false;
    }
    if (!scan_zone((struct km_span){t + end, span.length - end}, &zone))
        return false;
    out->s = days_from_civil(century * 100 + years, month, day) * SECONDS_PER_DAY + hour * 3600 +
             minute * 60 + second - zone + fraction.s;
    out->ps = fraction.ps;
    return true;
}

void km_print_seconds(FILE *stream, uint64_t ps)
{
    unsigned long long whole = ps / KM_PS_PER_S, rest = ps % KM_PS_PER_S;
    int decimals = 12;
    if (rest == 0) {
        fprintf(stream, "%llu", whole);
        return;
    }
    for (; rest % 10 == 0; rest /= 10)
        decimals--;
    fprintf(stream, "%llu.%0*llu", whole, decimals, rest);
}

void km_print_timestamp(FILE *stream, uint64_t ps)
{
    uint64_t ticks = (ps + 50000) / 100000; /* of 100 ns */
    uint64_t seconds = ticks / 10000000;
    int64_t days = (int64_t)(seconds / SECONDS_PER_DAY);
    int year = 1970, month = 1;
    while (days >= days_from_civil(year + 1, 1, 1))
        year++;
    while (month < 12 && days >= days_from_civil(year, month + 1, 1))
        month++;
    unsigned second = (unsigned)(seconds % SECONDS_PER_DAY);
    fprintf(stream, "%04d-%02d-%02d %02u:%02u:%02u.%07u", year, month,
            (int)(days - days_from_civil(year, month, 1)) + 1, second / 3600, second / 60 % 60, second % 60,
            (unsigned)(ticks % 10000000));
}
