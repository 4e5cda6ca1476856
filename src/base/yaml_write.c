#include "base/settings.h"
#include "base/yaml.h"

#include <string.h>

/* Inside brackets a plain scalar ends where it would go on outside. */
static bool ends_inside_brackets(const char *text)
{
    return strpbrk(text, ",[]{}#") || strstr(text, ": ") || !*text;
}

static void write(const struct km_yaml *node, bool inside, struct km_text *out)
{
    if (node->kind == KM_YAML_SCALAR) {
        if (node->quoted || (inside && ends_inside_brackets(node->text)))
            km_settings_write_string(node->text, out);
        else
            km_text_puts(out, node->text);
        return;
    }
    bool mapping = node->kind == KM_YAML_MAPPING;
    km_text_puts(out, mapping ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        if (i)
            km_text_puts(out, ", ");
        if (mapping)
            km_text_printf(out, "%s: ", node->items[i]->key);
        write(node->items[i], true, out);
    }
    km_text_puts(out, mapping ? "}" : "]");
}

void km_yaml_write(const struct km_yaml *node, struct km_text *out)
{
    write(node, false, out);
}
