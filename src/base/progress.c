#include "base/progress.h"

#include "base/wall_clock.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_CELLS     30
#define REDRAW_S      0.2
#define USUAL_COLUMNS 80
#define FIRST_DRAW_S  0.5 /* a run that ends sooner never shows a bar */

static void format_duration(char *out, size_t size, double seconds)
{
    if (!(seconds < 359999))
        snprintf(out, size, "--:--");
    else if (seconds < 3600)
        snprintf(out, size, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, size, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60, (int)seconds % 60);
}

void km_progress_format(char *out, size_t size, const char *label, double start_share, double share,
                        double elapsed_wall_s)
{
    char when[24], bar[BAR_CELLS + 1];
    if (!(share >= 0)) {
        format_duration(when, sizeof when, elapsed_wall_s);
        snprintf(out, size, "%s  %s", label, when);
        return;
    }
    share = share > 1 ? 1 : share;
    int full = (int)(share * BAR_CELLS);
    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(BAR_CELLS - full));
    bar[BAR_CELLS] = '\0';
    double gained = share - start_share;
    format_duration(when, sizeof when, gained > 0 ? elapsed_wall_s * (1 - share) / gained : 1e9);
    snprintf(out, size, "%s  [%s] %3d %%  %s left", label, bar, (int)(share * 100), when);
}

void km_progress_begin(struct km_progress *progress, FILE *stream, const char *label)
{
    *progress =
        (struct km_progress){.stream = stream, .label = label, .terminal = isatty(fileno(stream)) == 1};
    progress->start_wall_s = km_wall_now_s();
    progress->next_wall_s = progress->start_wall_s + FIRST_DRAW_S;
}

void km_progress_resume(struct km_progress *progress, double share)
{
    progress->start_share = share;
}

void km_progress_update(struct km_progress *progress, double share)
{
    if (progress->calls++ % 64 == 0)
        km_progress_tell(progress, share);
}

/* A line that wraps would not be redrawn in place. */
static size_t columns(FILE *stream)
{
    struct winsize size;
    bool known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : USUAL_COLUMNS;
}

static void draw(struct km_progress *progress, const char *note, double share)
{
    if (!progress->terminal)
        return;
    double now = km_wall_now_s();
    if (now < progress->next_wall_s)
        return;
    progress->next_wall_s = now + REDRAW_S;
    char line[400];
    km_progress_format(line, sizeof line, progress->label, progress->start_share, share,
                       now - progress->start_wall_s);
    size_t length = strlen(line), most = columns(progress->stream) - 1;
    if (note)
        snprintf(line + length, sizeof line - length, "  %s", note);
    fprintf(progress->stream, "\r%.*s\033[K", (int)(most < sizeof line ? most : sizeof line), line);
    fflush(progress->stream);
    progress->drawn = true;
}

void km_progress_tell(struct km_progress *progress, double share)
{
    draw(progress, NULL, share);
}

static void watch_phase(void *context, const char *phase, const char *note, double share)
{
    struct km_progress *progress = context;
    if (strncmp(progress->phase, phase, sizeof progress->phase - 1) != 0) {
        snprintf(progress->phase, sizeof progress->phase, "%s", phase);
        progress->label = progress->phase;
        progress->start_wall_s = km_wall_now_s();
        progress->start_share = share > 0 ? share : 0;
    }
    draw(progress, note, share);
}

struct km_watch km_progress_watch(struct km_progress *progress)
{
    return (struct km_watch){watch_phase, progress};
}

void km_progress_end(struct km_progress *progress)
{
    if (!progress->drawn)
        return;
    fputs("\r\033[K", progress->stream);
    fflush(progress->stream);
    progress->drawn = false;
}
